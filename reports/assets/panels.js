// What is said of a step, why it came about, what is under way, what clients know.

// Sentences of a step that are shown at once.
const TOLD = 4;
const WHY = { m: 'because of a message', n: 'after its step before', f: 'because of a fault', s: 'as the script waited for it' };

function drawNow(at) {
  const step = view.steps[at];
  const narration = step.q || {};
  const said = (step.s || []).map(sentence);
  refill('now',
    h('h2', {}, `Step ${at + 1} of ${LAST + 1}`, h('small', {}, seconds(at))),
    h('p', { class: 'what' }, signOf(at) && h('span', { class: 'sign' }, signOf(at)), titleOf(at)),
    narration.told && h('p', { class: 'told' }, narration.told),
    narration.expect && h('p', { class: 'told' }, h('b', {}, 'Expect: '), narration.expect),
    ...(failuresAt.get(at) || []).map(failureBox),
    h('ul', { class: 'said' }, said.slice(0, TOLD)),
    said.length > TOLD && h('details', {}, h('summary', {}, `and ${said.length - TOLD} more`), h('ul', { class: 'said' }, said.slice(TOLD))));
}

const sentence = (said) => h('li', { class: said.k ? 'turn' : '' }, said.n !== undefined && h('b', {}, view.lanes[said.n].name + ' '), textOf(said.w));

const failureBox = (failure) => h('div', { class: 'failure', role: 'alert' },
  h('h3', {}, '! Broken: ' + failure.check), h('p', {}, failure.promised), h('p', {}, failure.happened), h('p', {}, failure.place));

function drawWhy(at) {
  const direct = causesOf(at).map(([why, step]) => h('li', {}, h('span', { class: 'why' }, WHY[why]), ' ', toStep(step, `step ${step + 1}`), ': ' + captionOf(step)));
  // Back along messages and faults, where there are any: how it came to this.
  const chain = [];
  for (let step = at; chain.length < 6;) {
    const causes = causesOf(step);
    const next = causes.find(([why]) => why === 'f') || causes.find(([why]) => why === 'm') || causes[0];
    if (!next) break;
    step = next[1];
    chain.push(h('li', {}, toStep(step, `step ${step + 1}`), ': ' + captionOf(step)));
  }
  refill('why',
    direct.length ? h('ul', {}, direct) : h('p', { class: 'quiet' }, 'Nothing in this run came before it here.'),
    chain.length > 1 && h('details', {}, h('summary', {}, 'How it came to this, step by step back'), h('ol', { class: 'chain' }, chain)));
}

function messageItem(message) {
  const state = message.sent === view.at ? 'sent now' : message.ended === view.at ? (message.lost ? 'lost now' : 'read now') : 'under way';
  const shows = () => inspect(message);
  return h('li', { tabindex: 0, onmouseenter: shows, onfocus: shows, onclick: shows }, h('b', {}, routeOf(message)), ` ${kindOf(message)} `, h('small', {}, state));
}

function drawMessages(at) {
  view.at = at;
  const here = [...(readBy.get(at) || []), ...(sentBy.get(at) || [])];
  const others = inFlight(at).filter((message) => message.sent !== at);
  const shown = [...here, ...others].slice(0, 12);
  refill('messages', shown.length ? shown.map(messageItem) : h('li', { class: 'quiet' }, 'None'));
  inspect(here[0] || others[0]);
}

// The whole message, decoded.
function inspect(message) {
  refill('message', message ? [
    h('h3', {}, `${routeOf(message)} ${kindOf(message)}`),
    h('p', {}, `${message.bytes} bytes, sent at `, toStep(message.sent, `step ${message.sent + 1}`),
      message.lost ? ', lost at ' : message.ended <= LAST ? ', read at ' : ', never read', message.ended <= LAST && toStep(message.ended, `step ${message.ended + 1}`),
      message.answers >= 0 && ', answers what was sent at ', message.answers >= 0 && toStep(messages[message.answers].sent, `step ${messages[message.answers].sent + 1}`)),
    h('pre', {}, indented(textOf(message.words))),
  ] : [h('p', { class: 'quiet' }, 'Point at an arrow or a message to read it.')]);
}

// Fields below each other, an indent for each bracket; what fits in a line stays in it.
function indented(text) {
  let depth = 0;
  return text.replace(/(\{ |\[\{ | \}\]?|, (?=[a-z_]+: ))/g, (sign) => {
    if (sign.includes('{')) { depth++; return sign.trim() + '\n' + '  '.repeat(depth); }
    if (sign.includes('}')) { depth--; return '\n' + '  '.repeat(Math.max(0, depth)) + sign.trim(); }
    return ',\n' + '  '.repeat(depth);
  });
}

function drawClients(now, at) {
  const clients = view.lanes.map((_, lane) => lane).filter((lane) => view.lanes[lane].kind === 'client');
  refill('clients', clients.map((lane) => {
    const client = now.clients.get(lane) || DEFAULTS.c();
    const counts = [
      client.s && `sent ${client.s}`, client.a && `told written ${client.a}`, client.r && `told refused ${client.r}`, client.k && `fate unknown ${client.k}`,
      client.s - client.a - client.r - client.k > 0 && `waits for ${client.s - client.a - client.r - client.k}`,
      ...client.d.map(([partition, offset]) => `has read ${view.partitions[partition]} before ${offset}`),
    ].filter(Boolean).join(', ');
    const said = toldTo.get(lane) || [];
    const upto = placeOf(said, at + 1, (entry) => entry.at);
    const last = said.slice(Math.max(0, upto - 3), upto).reverse();
    return h('li', {}, h('b', {}, view.lanes[lane].name), ' ', counts || 'has done nothing yet',
      h('ul', {}, last.map((entry) => h('li', {}, toStep(entry.at, textOf(entry.said.w)), fateOf(entry.said, now, at)))));
  }));
}

// Where a record that its producer was told of is now.
function fateOf(said, now, at) {
  const told = said.k === 'a' && /`(.+)` is at offset (\d+)/.exec(textOf(said.w));
  if (!told || said.p === undefined) return null;
  const offset = Number(told[2]);
  const holders = view.lanes.map((_, lane) => lane).filter((lane) => {
    const replica = now.replica(lane, said.p);
    return replica && replica.s <= offset && offset < replica.o && valueAt(lane, said.p, offset, at) === told[1];
  });
  const names = holders.map((lane) => view.lanes[lane].name).join(', ');
  return h('em', { class: holders.length ? '' : 'gone' }, holders.length ? ` · now on ${names}` : ' · now on no replica');
}
