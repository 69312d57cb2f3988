// A question before a decisive step is shown.

const quiz = { on: view.asks, answered: new Set(), right: 0, asked: 0, waiting: -1 };

// Asks if the step that one is about to see has a question; true if it waits for the answer.
function ask(at) {
  const question = view.steps[at].q?.question;
  if (!quiz.on || !question || quiz.answered.has(at)) return false;
  quiz.waiting = at;
  const answers = question.choices.map((choice, number) => h('button', { type: 'button', onclick: () => answer(at, number) }, choice));
  refill('quiz', h('h2', {}, `Before the next step: choose one, or press 1 to ${answers.length}`), h('p', {}, question.ask), h('div', { class: 'choices' }, answers), h('p', { id: 'verdict', role: 'status' }));
  byId('quiz').hidden = false;
  answers[0].focus();
  return true;
}

function answer(at, number) {
  const question = view.steps[at].q.question;
  if (quiz.answered.has(at)) return;
  quiz.answered.add(at);
  quiz.asked++;
  const isRight = number === question.right;
  if (isRight) quiz.right++;
  byId('quiz').querySelectorAll('.choices button').forEach((button, place) => {
    button.disabled = true;
    if (place === question.right) { button.classList.add('right'); button.prepend('✓ '); }
    else if (place === number) { button.classList.add('wrong'); button.prepend('✗ '); }
  });
  const shows = h('button', { type: 'button', onclick: () => { endQuiz(); go(at); } }, 'Show the step');
  refill('verdict', h('b', {}, isRight ? 'Right. ' : 'Not so. '), question.answer + ` (${quiz.right} of ${quiz.asked} right) `, shows);
  shows.focus();
}

function endQuiz() {
  quiz.waiting = -1;
  byId('quiz').hidden = true;
}
