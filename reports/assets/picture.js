// The cluster at one moment: every replica's log of one partition, offset below offset, and who is who.

let chosen = Math.max(0, view.partitions.findIndex((name) => name !== 'metadata'));
const CELL = 38;
// Offsets that the window is moved to the left by.
let shift = 0;

const letter = (epoch) => (epoch < 0 ? '?' : 'e' + epoch);

function drawPicture(now, before, at) {
  drawNodes(now, at);
  const box = byId('logs');
  const holders = view.lanes.map((_, lane) => lane).filter((lane) => now.replica(lane, chosen) || before.replica(lane, chosen));
  const room = Math.max(4, Math.floor((box.clientWidth - (box.clientWidth > 480 ? 150 : 8)) / CELL) - 1);
  const ends = holders.flatMap((lane) => [now.replica(lane, chosen)?.o || 0, before.replica(lane, chosen)?.o || 0]);
  const last = Math.max(0, ...ends) - shift;
  const first = Math.max(0, last - room + 1);
  const columns = Array.from({ length: room }, (_, i) => first + i);
  byId('earlier').disabled = first === 0;
  byId('later').disabled = shift === 0;
  drawDecision(now);
  const rows = holders.map((lane) => replicaRow(lane, now, before, at, columns));
  refill('logs', rows.length ? rows : h('p', { class: 'quiet' }, 'No replica of this partition has spoken yet.'));
}

function drawDecision(now) {
  const decided = now.decided.get(chosen);
  byId('decision').textContent = decided
    ? `The controller has decided: ${decided.l < 0 ? 'nobody leads' : nameOfId(decided.l) + ' leads'} in epoch ${decided.e}, `
      + `ISR ${namesOfIds(decided.i)}${decided.x.length ? ', ELR ' + namesOfIds(decided.x) : ''}, partition epoch ${decided.v}.`
    : view.partitions[chosen] === 'metadata' ? 'The metadata log has a quorum of its own.' : 'The controller has not decided anything yet.';
}

function replicaRow(lane, now, before, at, columns) {
  const name = view.lanes[lane].name;
  const node = now.nodes.get(lane) || DEFAULTS.n();
  const replica = now.replica(lane, chosen);
  const old = before.replica(lane, chosen);
  if (!replica) return h('div', { class: 'replica' }, h('div', { class: 'who' }, h('b', {}, name), ' has no replica any more'));
  const decided = now.decided.get(chosen);
  const id = view.lanes[lane].id;
  const badges = [
    !node.u && h('span', { class: 'badge bad' }, 'down'),
    node.p && h('span', { class: 'badge bad' }, 'paused'),
    replica.l && node.u && h('span', { class: 'badge lead' }, '★ leads'),
    decided?.i.includes(id) && h('span', { class: 'badge' }, 'ISR'),
    decided?.x.includes(id) && h('span', { class: 'badge' }, 'ELR'),
  ];
  const epochs = replica.c.slice(-3).map(([epoch, start]) => `${letter(epoch)} from ${start}`).join(', ');
  const facts = [replica.e < 0 ? 'does not know its role yet' : `epoch ${replica.e}`, `synced to ${replica.d}`, replica.s > 0 && `starts at ${replica.s}`, replica.i.length > 0 && node.u && `its ISR ${namesOfIds(replica.i)}`].filter(Boolean).join(' · ');
  const cells = columns.map((offset) => cell(lane, replica, old, offset, at));
  const label = `${name}: log from ${replica.s} to ${replica.o} (exclusive), high watermark ${replica.h < 0 ? 'not known yet' : replica.h}, synced to ${replica.d}, ${epochs || 'empty'}`;
  return h('div', { class: 'replica' + (node.u ? '' : ' is-down'), role: 'group', 'aria-label': label },
    h('div', { class: 'who' }, h('b', {}, name), badges, h('small', {}, facts), h('small', { title: 'leader epoch cache' }, epochs)),
    h('div', { class: 'track' },
      mark('end', replica.o, columns, 'end '), h('div', { class: 'cells' }, cells), mark('hw', replica.h, columns, 'HW ')));
}

function cell(lane, replica, old, offset, at) {
  const isCut = old && offset >= replica.o && offset < old.o;
  const isThere = offset >= replica.s && offset < replica.o;
  if (!isThere && !isCut) return h('span', { class: 'cell none' }, h('i', {}, offset < replica.o ? '' : offset));
  const epoch = epochAt(isCut ? old : replica, offset);
  const value = valueAt(lane, chosen, offset, isCut ? at - 1 : at);
  const states = [
    isCut ? 'cut off in this step' : replica.h < 0 ? 'high watermark not known yet' : offset < replica.h ? 'below the high watermark' : 'above the high watermark',
    !isCut && (offset < replica.d ? 'synced' : 'not synced yet'),
  ].filter(Boolean).join(', ');
  const words = `offset ${offset}, ${letter(epoch)}${value ? ', ' + value : ''}, ${states}`;
  const kind = isCut ? ' cut' : (offset < replica.h ? '' : ' above') + (offset < replica.d ? '' : ' unsynced');
  const isNew = !isCut && (!old || offset >= old.o);
  return h('span', { class: `cell p${((epoch % 6) + 6) % 6}${kind}${isNew ? ' new' : ''}`, title: words, 'data-offset': offset, 'data-lane': view.lanes[lane].name },
    h('b', {}, isCut ? '✕' : letter(epoch)), h('i', {}, offset));
}

// A mark at the edge before an offset; outside of the window it says so at the rim.
function mark(kind, offset, columns, label) {
  const place = offset - columns[0];
  const inside = Math.max(0, Math.min(place, columns.length));
  const isKnown = offset >= 0;
  const rim = place < 0 && isKnown ? '‹ ' : '';
  return h('div', { class: 'mark ' + kind, style: `--place:${inside}` },
    h('span', { class: inside > columns.length - 2 ? 'left' : '', title: !isKnown ? 'It has a checkpoint of its high watermark, and tells of it when it knows its role.' : kind === 'hw'
      ? `high watermark ${offset}: the next offset to be committed. Counted as the last committed offset it is ${offset - 1}.`
      : `log end ${offset}: the next offset to be written. The last record is at ${offset - 1}.` }, rim + label + (isKnown ? offset : '?')));
}

function drawNodes(now, at) {
  refill('nodes', shownLanes().map((lane) => {
    const node = now.nodes.get(lane) || DEFAULTS.n();
    const state = !node.u ? 'down' : node.p ? 'paused' : 'up';
    return h('li', { class: state + (view.steps[at].n === lane ? ' acts' : '') }, h('b', {}, view.lanes[lane].name), ' ', state, node.c ? ' ♔ controller' : '');
  }));
  const cuts = now.cuts.map(([from, to]) => `${view.lanes[from].name} ✂ ${view.lanes[to].name}`);
  const faults = now.faults.map(textOf);
  byId('faults').textContent = cuts.length + faults.length ? 'Lasting faults: ' + [...cuts, ...faults].join('; ') : '';
}
