// The page: its parts, the step that it shows, and the keys.

const TURNS = [['t', 'truncation'], ['e', 'election'], ['i', 'ISR change'], ['a', 'acknowledgement'], ['v', 'violation']];
const KEYS = [
  ['→ / n', 'next shown step'], ['← / p', 'step back'], ['space', 'play and pause'], ['home / end', 'first and last step'],
  ...TURNS.map(([key, name]) => [`${key} / shift ${key}`, `next and previous ${name}`]),
  ['+ / -', 'faster and slower'], ['[ / ]', 'earlier and later offsets'], ['/', 'search; enter finds on, shift enter back'],
  ['q', 'quiz: 1, 2, 3 answer'], ['d', 'dark and light'], ['?', 'this help'], ['esc', 'close'],
];
const nowCursor = new Cursor();
const beforeCursor = new Cursor();
let current = 0;
let timer = null;

// Shows a step.
function go(at) {
  if (quiz.waiting >= 0 && quiz.waiting !== at) endQuiz();
  current = Math.max(0, Math.min(LAST, at));
  const now = nowCursor.goTo(current);
  const before = beforeCursor.goTo(current - 1);
  drawDiagram(current, quiz.on);
  drawPicture(now, before, current);
  drawNow(current);
  drawWhy(current);
  drawMessages(current);
  drawClients(now, current);
  byId('scrubber').value = current + 1;
  // What comes is no secret if its letter stands there.
  for (const tick of document.querySelectorAll('#ticks a')) tick.hidden = quiz.on && Number(tick.dataset.step) > current;
  byId('scrubber').setAttribute('aria-valuetext', `step ${current + 1}: ${captionOf(current)}`);
  byId('place').textContent = `${current + 1} / ${LAST + 1}`;
  byId('speech').textContent = `Step ${current + 1}. ${view.steps[current].s ? captionOf(current) : titleOf(current)}`;
  history.replaceState(null, '', '#step=' + (current + 1));
}

// Goes on to a step, unless a question comes first.
function advance(at) {
  if (at === undefined) return stop();
  if (quiz.on) {
    // What is skipped over is asked as well: the first question on the way.
    const list = filter.visible;
    for (let place = placeOf(list, current + 1); place < list.length && list[place] <= at; place++) {
      if (view.steps[list[place]].q?.question && !quiz.answered.has(list[place])) {
        stop();
        const before = previousOf(list, list[place]);
        if (before > current) go(before);
        ask(list[place]);
        return;
      }
    }
  }
  go(at);
}

const forward = () => advance(nextOf(filter.visible, current));
const back = () => { const at = previousOf(filter.visible, current); if (at !== undefined) go(at); };

function jump(kind, backward) {
  const at = backward ? previousOf(turns[kind], current) : nextOf(turns[kind], current);
  const name = TURNS.find(([key]) => key === kind)[1];
  if (at === undefined) say(`No ${backward ? 'earlier' : 'later'} ${name}.`);
  else if (backward) go(at); else advance(at);
}

const say = (text) => { byId('speech').textContent = text; byId('notice').textContent = text; setTimeout(() => { byId('notice').textContent = ''; }, 2500); };

function stop() {
  clearInterval(timer);
  timer = null;
  byId('play').textContent = 'Play';
  byId('play').setAttribute('aria-pressed', 'false');
}

function play() {
  if (timer) return stop();
  byId('play').textContent = 'Pause';
  byId('play').setAttribute('aria-pressed', 'true');
  timer = setInterval(() => (nextOf(filter.visible, current) === undefined ? stop() : forward()), 1000 / Number(byId('speed').value));
}

function changeSpeed(direction) {
  const speed = byId('speed');
  speed.selectedIndex = Math.max(0, Math.min(speed.options.length - 1, speed.selectedIndex + direction));
  if (timer) { stop(); play(); }
}

function refilter() {
  applyFilter();
  byId('shown').textContent = `${filter.visible.length} of ${LAST + 1} steps shown`;
  go(current);
}

function search(direction) {
  const at = find(byId('search').value, current, direction);
  if (at < 0) say('No step says that.'); else go(at);
}

function toggleTheme() {
  const isDark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = isDark ? 'light' : 'dark';
}

function toggleQuiz() {
  quiz.on = !quiz.on;
  byId('quiz-on').setAttribute('aria-pressed', quiz.on);
  endQuiz();
  go(current);
  say(quiz.on ? 'Quiz: what comes is hidden, and you are asked before decisive steps.' : 'Quiz is off.');
}

function onKey(event) {
  const target = event.target;
  if (event.key === 'Escape') { byId('help').close(); endQuiz(); if (target.id === 'search') target.blur(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches('input[type=search], select, dialog *')) return;
  const isButton = target.matches('button, summary, a');
  const lower = event.key.toLowerCase();
  const actions = {
    arrowright: forward, n: forward, arrowleft: back, p: back, home: () => go(0), end: () => advance(LAST),
    '+': () => changeSpeed(1), '-': () => changeSpeed(-1), '[': () => pan(5), ']': () => pan(-5),
    '/': () => { byId('filter').open = true; byId('search').focus(); }, q: toggleQuiz, d: toggleTheme, '?': () => byId('help').showModal(),
  };
  if (event.key === ' ' && !isButton) actions[' '] = play;
  if (quiz.waiting >= 0) {
    const choice = byId('quiz').querySelectorAll('.choices button')[Number(event.key) - 1];
    if (choice) { event.preventDefault(); choice.click(); return; }
  }
  for (const [key] of TURNS) actions[key] = () => jump(key, event.shiftKey);
  if (!actions[lower]) return;
  event.preventDefault();
  if (timer && lower !== ' ' && lower !== '+' && lower !== '-') stop();
  actions[lower]();
}

function pan(by) {
  shift = Math.max(0, shift + by);
  go(current);
}

function fromHash() {
  const found = /#step=(\d+)/.exec(location.hash);
  return found ? Math.max(0, Math.min(LAST, Number(found[1]) - 1)) : -1;
}

function firstStep() {
  const told = view.steps.findIndex((step) => step.q?.told);
  const all = [...turns.e, ...turns.t].sort((a, b) => a - b);
  return told >= 0 ? told : all[0] ?? filter.visible[0] ?? 0;
}

const option = (value, text, selected) => h('option', { value, selected }, text);

function build() {
  const button = (id, text, label, act) => h('button', { id, type: 'button', title: label, 'aria-label': label, onclick: act }, text);
  const lanes = view.lanes.map((lane, at) => h('label', {}, h('input', { type: 'checkbox', checked: !filter.hidden.has(at), onchange: (event) => {
    if (event.target.checked) filter.hidden.delete(at); else filter.hidden.add(at);
    refilter();
  } }), lane.name));
  const panel = (id, title, content, open) => h('details', { class: 'panel', open, id: id + '-panel' }, h('summary', {}, h('h2', {}, title)), content);
  document.body.append(
    h('a', { class: 'skip', href: '#now' }, 'To the step'),
    h('header', {},
      h('div', {}, h('h1', {}, view.title), h('p', { class: view.failures.length ? 'ended bad' : 'ended' }, (view.failures.length ? '! ' : '✓ ') + view.verdict)),
      h('details', { class: 'about' }, h('summary', {}, 'About this run'), h('p', {}, view.about), h('p', {}, h('code', {}, view.command)), h('p', {}, 'Digest ', h('code', {}, view.digest)),
        ...view.failures.map((failure) => h('div', {}, failureBox(failure), toStep(failure.step, 'to the step')))),
      h('div', { class: 'tools' },
        h('button', { id: 'quiz-on', type: 'button', 'aria-pressed': quiz.on ? 'true' : 'false', onclick: toggleQuiz }, 'Quiz'),
        button('theme', '◐', 'Dark or light', toggleTheme), button('ask-help', '?', 'Keys and signs', () => byId('help').showModal()))),
    h('section', { class: 'controls', 'aria-label': 'Where in the run' },
      h('div', { class: 'buttons' },
        button('first', '|◀', 'First step', () => go(0)), button('back', '◀', 'Step back', back),
        h('button', { id: 'play', type: 'button', 'aria-pressed': 'false', onclick: play }, 'Play'),
        button('forward', '▶', 'Next step', forward), button('last', '▶|', 'Last step', () => advance(LAST)),
        h('label', {}, 'Speed ', h('select', { id: 'speed', onchange: () => changeSpeed(0) }, [['0.5', '½'], ['1', '1'], ['2', '2'], ['5', '5'], ['10', '10'], ['25', '25']].map(([value, text]) => option(value, text + ' a second', value === '2')))),
        h('span', { id: 'place' })),
      h('div', { class: 'buttons jumps' }, 'Next ', TURNS.map(([key, name]) => h('button', { id: 'jump-' + key, type: 'button', disabled: !turns[key].length, title: `next ${name} (${key}), previous (shift ${key})`, onclick: (event) => jump(key, event.shiftKey) }, name))),
      h('div', { class: 'line' }, h('input', { id: 'scrubber', type: 'range', min: 1, max: LAST + 1, step: 1, 'aria-label': 'Step', oninput: (event) => { stop(); go(Number(event.target.value) - 1); } }), h('div', { id: 'ticks', 'aria-hidden': 'true' })),
      h('details', { id: 'filter', class: 'filter' }, h('summary', {}, 'Filter and search ', h('small', { id: 'shown' })),
        h('div', { class: 'buttons' },
          h('label', {}, 'Show ', h('select', { id: 'level', onchange: (event) => { filter.level = event.target.value; refilter(); } }, option('story', 'the story', true), option('turns', 'decisive steps'), option('said', 'all that was said, the metadata log included'), option('all', 'every step'))),
          h('label', {}, 'Partition ', h('select', { id: 'of-partition', onchange: (event) => { filter.partition = Number(event.target.value); refilter(); } }, option(-1, 'all'), view.partitions.map((name, at) => option(at, name)))),
          h('label', {}, 'API ', h('select', { id: 'of-api', onchange: (event) => { filter.api = Number(event.target.value); if (filter.api >= 0) { filter.level = 'all'; byId('level').value = 'all'; } refilter(); } }, option(-1, 'all'), view.apis.map((name, at) => option(at, name)))),
          h('label', {}, 'Search ', h('input', { id: 'search', type: 'search', placeholder: 'truncated, p1-00000000, Fetch …', onkeydown: (event) => { if (event.key === 'Enter') search(event.shiftKey ? -1 : 1); } }))),
        h('fieldset', {}, h('legend', {}, 'Nodes'), lanes))),
    h('p', { id: 'notice', 'aria-hidden': 'true' }),
    h('main', {},
      h('section', { id: 'quiz', 'aria-label': 'Quiz', hidden: true }),
      h('section', { id: 'diagram', 'aria-label': 'Space and time' }),
      h('div', { class: 'right' },
        h('section', { id: 'now', 'aria-label': 'This step', tabindex: -1 }),
        h('section', { id: 'cluster', 'aria-label': 'The cluster after this step' },
          h('ul', { id: 'nodes', 'aria-label': 'Nodes' }), h('p', { id: 'faults' }),
          h('div', { class: 'buttons' }, h('label', {}, 'Log of ', h('select', { id: 'partition', onchange: (event) => { chosen = Number(event.target.value); shift = 0; go(current); } }, view.partitions.map((name, at) => option(at, name, at === chosen)))),
            button('earlier', '‹', 'Earlier offsets', () => pan(5)), button('later', '›', 'Later offsets', () => pan(-5))),
          h('p', { id: 'decision' }), h('div', { id: 'logs' }),
          h('p', { class: 'legend' }, 'A cell is a record: its leader epoch and offset. Dashed: not synced yet. Pale: above the high watermark (HW). ✕: cut off in this step.'))),
      h('div', { class: 'panels' },
        panel('why', 'Why', h('div', { id: 'why' }), true),
        panel('messages', 'Messages', h('div', {}, h('ul', { id: 'messages' }), h('div', { id: 'message' })), true),
        panel('clients', 'What clients know', h('ul', { id: 'clients' }), true))),
    h('p', { id: 'speech', class: 'unseen', 'aria-live': 'polite' }),
    h('dialog', { id: 'help', 'aria-label': 'Keys and signs' }, h('h2', {}, 'Keys'), h('dl', {}, KEYS.flatMap(([key, text]) => [h('dt', {}, key), h('dd', {}, text)])),
      h('h2', {}, 'Signs'), h('dl', {}, [['E', 'somebody leads from now on'], ['T', 'a log lost its tail'], ['I', 'other replicas are in sync'], ['A', 'a producer was told that its record is written'], ['×', 'a fault, or a start'], ['!', 'a promise was broken']].flatMap(([sign, text]) => [h('dt', {}, sign), h('dd', {}, text)])),
      h('form', { method: 'dialog' }, h('button', {}, 'Close'))));
}

build();
applyFilter();
byId('shown').textContent = `${filter.visible.length} of ${LAST + 1} steps shown`;
const wanted = fromHash();
drawScrubber();
go(wanted >= 0 ? wanted : firstStep());
document.addEventListener('keydown', onKey);
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[data-step]');
  if (!link) return;
  event.preventDefault();
  stop();
  go(Number(link.dataset.step));
});
addEventListener('hashchange', () => { const at = fromHash(); if (at >= 0 && at !== current) go(at); });
addEventListener('resize', () => { drawScrubber(); go(current); });
