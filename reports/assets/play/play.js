// The table: a tree of moves. Each place in it is a run from the beginning, which the server makes again when it is chosen.

const places = [];
let here = 0;
let base = null;
let told = null;
let asked = 0;

const pathTo = (at) => { const path = []; for (let place = at; place >= 0; place = places[place].parent) path.unshift(place); return path; };
const stepsTo = (at) => pathTo(at).flatMap((place) => places[place].steps);
const childrenOf = (at) => places.map((place, number) => [place, number]).filter(([place]) => place.parent === at).map(([, number]) => number);
const value = (id) => byId(id).value;

// What is wrong is said at the top, and whoever is further down is taken there.
function complain(words) {
  byId('wrong').textContent = words;
  if (words) byId('wrong').scrollIntoView({ block: 'nearest' });
}

async function post(path, body) {
  const answer = await fetch(path, { method: 'POST', body: JSON.stringify(body) });
  return answer.json();
}

function add(parent, label, steps) {
  places.push({ parent, label, steps, next: -1 });
  if (parent >= 0) places[parent].next = places.length - 1;
  return places.length - 1;
}

// Stands at a place: its run is made again and shown from its last step.
async function go(at) {
  const number = ++asked;
  const answer = await post('/run', { steps: stepsTo(at) }).catch((error) => ({ wrong: `the server does not answer: ${error.message}` }));
  if (number !== asked) return false;
  complain(answer.wrong || answer.stuck || '');
  if (answer.wrong) return false;
  for (let place = at; places[place].parent >= 0; place = places[place].parent) places[places[place].parent].next = place;
  here = at;
  told = answer;
  byId('run').src = `${answer.view}#step=${answer.steps}`;
  draw();
  return true;
}

// A move: what is done, and how long it then goes on.
async function move(label, actions) {
  const pass = Number(value('pass'));
  const steps = actions.length ? [{ do: actions, note: label + '.' }, { when: { after_ms: pass } }] : [{ when: { after_ms: pass } }];
  const at = add(here, actions.length ? label : `${pass} ms pass`, steps);
  if (!await go(at)) { places.pop(); places[here].next = childrenOf(here).at(-1) ?? -1; draw(); }
}

async function wait(ms) {
  const at = add(here, ms < 1000 ? `${ms} ms pass` : `${ms / 1000} s pass`, [{ when: { after_ms: ms } }]);
  await go(at);
}

const undo = () => { if (places[here].parent >= 0) go(places[here].parent); };
const redo = () => { if (places[here].next >= 0) go(places[here].next); };

async function save() {
  const answer = await post('/scenario', { steps: stepsTo(here), name: value('name'), played_ms: told.time_ms });
  complain(answer.wrong || '');
  if (answer.wrong) return;
  const link = h('a', { href: URL.createObjectURL(new Blob([answer.scenario], { type: 'application/json' })), download: value('name') + '.json' });
  link.click();
}

const button = (id, text, act, disabled) => h('button', { id, type: 'button', onclick: act, disabled: !!disabled }, text);
const choice = (id, names, label) => h('label', {}, label + ' ', h('select', { id }, names.map((name) => h('option', { value: name }, name))));

function drawNode(node) {
  const state = !node.up ? 'down' : node.paused ? 'frozen' : ['up', node.controls ? 'active controller' : '', node.leads.length ? 'leads ' + node.leads.join(', ') : ''].filter(Boolean).join(', ');
  const name = node.name;
  const act = (id, text, action, disabled) => button(`${id}-${name}`, text, () => move(`${name}: ${text.toLowerCase()}`, [action]), disabled);
  return h('div', { class: 'node', id: 'node-' + name }, h('strong', {}, name), h('small', {}, state),
    h('div', { class: 'row' },
      act('kill', 'Crash', { kill: name }, !node.up),
      act('power', 'Power off', { power_loss: { nodes: [name], keep: value('keep') || 'none' } }, !node.up),
      act('stop', 'Stop', { terminate: name }, !node.up || node.paused),
      node.paused ? act('resume', 'Thaw', { resume: name }) : act('pause', 'Freeze', { pause: name }, !node.up),
      act('start', 'Start', { start: name }, node.up)));
}

function drawTree(at) {
  const children = childrenOf(at);
  const own = h('button', { type: 'button', 'aria-current': at === here ? 'true' : undefined, onclick: () => go(at) }, places[at].label);
  // A single way on is no branch: it stays on its level.
  const items = [h('li', {}, own)];
  if (children.length === 1) items.push(...drawTree(children[0]));
  else if (children.length) items.push(h('li', {}, children.map((child) => h('ul', {}, drawTree(child)))));
  return items;
}

function drawLight(light) {
  const [kind, sign, words] = light.broken ? ['broken', '✕', light.broken] : light.looked ? ['held', '✓', `looked ${light.looked} times`] : ['', '·', 'has not looked yet'];
  return h('li', { class: kind, id: 'light-' + light.id, title: `${light.title} ${words}`, 'aria-label': `${light.id}: ${light.broken ? 'broken. ' : ''}${light.title} ${words}` }, `${sign} ${light.id}`);
}

function draw() {
  byId('time').textContent = `${(told.time_ms / 1000).toFixed(3)} simulated seconds, ${told.steps} steps`;
  byId('undo').disabled = places[here].parent < 0;
  byId('redo').disabled = places[here].next < 0;
  byId('nodes').replaceChildren(...told.nodes.filter((node) => !node.client).map(drawNode));
  byId('tree').replaceChildren(...drawTree(0));
  byId('lights').replaceChildren(...told.lights.map(drawLight));
  byId('broken').replaceChildren(...told.lights.filter((light) => light.broken).map((light) => h('p', { class: 'quiet' }, `${light.id}: ${light.broken}`)));
}

function build() {
  const nodes = base.nodes;
  const everybody = [...nodes, ...base.producers, ...base.consumers];
  const link = () => [[value('from')], [value('to')]];
  document.body.append(
    h('aside', { 'aria-label': 'Moves' },
      h('h1', {}, base.name), h('p', { class: 'quiet' }, base.about), h('p', { id: 'time', 'aria-live': 'polite' }), h('p', { id: 'wrong', role: 'alert' }),
      h('div', { class: 'row' }, button('undo', 'Undo', undo), button('redo', 'Redo', redo), h('small', {}, 'keys: u, r')),
      h('h2', {}, 'Time'),
      h('div', { class: 'row' }, [10, 100, 1000, 5000].map((ms) => button('wait-' + ms, '+' + (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`), () => wait(ms)))),
      h('label', {}, 'After a move pass ', h('select', { id: 'pass' }, [0, 1, 10, 100, 300, 1000].map((ms) => h('option', { value: ms, selected: ms === 300 }, ms + ' ms')))),
      h('h2', {}, 'Brokers'), h('div', { id: 'nodes' }),
      h('label', {}, 'Without power survives ', h('select', { id: 'keep' }, [['none', 'what was synced'], ['all', 'everything'], ['subset', 'any of the rest'], ['prefix', 'the beginning of the rest']].map(([id, text]) => h('option', { value: id }, text)))),
      h('h2', {}, 'Clients'),
      base.producers.length ? h('div', { class: 'row' }, choice('producer', base.producers, 'Producer'), choice('target', base.partitions, 'to'), h('label', {}, h('input', { id: 'count', type: 'number', min: 1, max: 1000, value: 1, 'aria-label': 'How many records' })), button('send', 'Send', () => move(`${value('producer')} sends ${value('count')} to ${value('target')}`, [{ send: { client: value('producer'), partition: value('target'), count: Number(value('count')) } }]))) : [],
      base.consumers.length ? h('div', { class: 'row' }, choice('consumer', base.consumers, 'Consumer'), h('label', {}, 'fetches every ', h('select', { id: 'every' }, [0, 200, 1000, 5000, 60000].map((ms) => h('option', { value: ms }, ms + ' ms')))), button('poll', 'So be it', () => move(`${value('consumer')} fetches every ${value('every')} ms`, [{ poll_every: { client: value('consumer'), ms: Number(value('every')) } }]))) : [],
      base.admins.length ? [
        h('div', { class: 'row' }, choice('topic', base.topics, 'Topic'), h('select', { id: 'property', 'aria-label': 'Property' }, ['min.insync.replicas', 'unclean.leader.election.enable', 'flush.messages', 'retention.ms', 'segment.bytes'].map((name) => h('option', { value: name }, name))), h('input', { id: 'to-value', size: 7, value: '1', 'aria-label': 'New value' }), button('alter', 'Set', () => move(`${value('property')}=${value('to-value')}`, [{ alter_topic: { client: base.admins[0], topic: value('topic'), config: { [value('property')]: value('to-value') } } }]))),
        h('div', { class: 'row' }, choice('elected', base.partitions, 'Elect in'), button('elect', 'preferred', () => move(`preferred election in ${value('elected')}`, [{ elect: { client: base.admins[0], partition: value('elected') } }])), button('elect-unclean', 'unclean', () => move(`unclean election in ${value('elected')}`, [{ elect: { client: base.admins[0], partition: value('elected'), unclean: true } }])))] : [],
      h('h2', {}, 'Links'),
      h('div', { class: 'row' }, choice('from', everybody, 'From'), choice('to', [...everybody.slice(1), everybody[0]], 'to')),
      h('div', { class: 'row' },
        button('cut', 'Cut both ways', () => { const [a, b] = link(); move(`cut ${a} ✕ ${b}`, [{ cut: { a, b } }]); }),
        button('cut-one-way', 'Cut one way', () => { const [from, to] = link(); move(`cut ${from} → ${to}`, [{ cut_one_way: { from, to } }]); }),
        button('heal', 'Heal all', () => move('heal all links', ['heal_links']))),
      h('div', { class: 'row' },
        button('hold', 'Hold messages', () => move(`hold ${value('from')} → ${value('to')}`, [{ hold: { from: value('from'), to: value('to') } }])),
        button('let-through', 'Let one through', () => move(`let one through ${value('from')} → ${value('to')}`, [{ let_through: { from: value('from'), to: value('to') } }])),
        button('drop', 'Drop one', () => move(`drop one ${value('from')} → ${value('to')}`, [{ drop: { from: value('from'), to: value('to') } }])),
        button('release', 'Release', () => move(`release ${value('from')} → ${value('to')}`, [{ release: { from: value('from'), to: value('to') } }]))),
      h('h2', {}, 'Checks'), h('ul', { id: 'lights' }), h('div', { id: 'broken', role: 'alert' }),
      h('h2', {}, 'What was played'), h('ul', { id: 'tree' }),
      h('h2', {}, 'Save'),
      h('div', { class: 'row' }, h('label', {}, 'Name ', h('input', { id: 'name', value: 'my-game', size: 14 })), button('save', 'Scenario file', save)),
      h('p', { class: 'quiet' }, '`sweep` and `replay` take the file.')),
    h('iframe', { id: 'run', title: 'The run so far' }));
  document.addEventListener('keydown', (event) => {
    if (event.target.matches('input, select') || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'u') undo();
    if (event.key === 'r') redo();
  });
}

async function begin() {
  base = await (await fetch('/base')).json();
  build();
  let at = add(-1, 'the beginning', []);
  // A script is the first moves: each of its steps can be left for another one.
  for (const [number, step] of base.steps.entries()) at = add(at, step.note || `step ${number + 1}`, [step]);
  if (!await go(at)) await go(0);
}

begin();
