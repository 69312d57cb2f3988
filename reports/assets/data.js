// The recorded run: indices over its data, which is `view`, and the cluster at any step.

const KEYFRAME_EVERY = 500;
const LAST = view.steps.length - 1;

// A sentence: a template and what fills its gaps; long ones name only the gaps that differ from the first of their kind.
function textOf([template, fills]) {
  const [pieces, usual] = view.texts[template];
  let filled = fills;
  if (usual.length) {
    filled = usual.slice();
    for (let i = 0; i < fills.length; i += 2) filled[fills[i]] = fills[i + 1];
  }
  let text = pieces[0];
  for (let i = 1; i < pieces.length; i++) text += filled[i - 1] + pieces[i];
  return text;
}

const messages = view.messages.map(([from, to, api, bytes, words, partitions, sent, ended, answers, lost], number) =>
  ({ number, from, to, api, bytes, words, partitions, sent, ended: ended < 0 ? Infinity : ended, answers, lost: !!lost }));

// By step: its time, the step before on its lane, the messages that it sent and read.
const timeAt = new Float64Array(view.steps.length);
const beforeOf = new Int32Array(view.steps.length).fill(-1);
const sentBy = new Map();
const readBy = new Map();
// By lane: when it went up and down. By replica: what was appended when. By kind: the steps that turned something.
const lifeOf = view.lanes.map(() => []);
const appendsOf = new Map();
const toldTo = new Map();
const turns = { e: [], t: [], i: [], a: [], v: [...new Set(view.failures.map((failure) => failure.step))].sort((a, b) => a - b) };
const failuresAt = new Map();
// Messages under way when a keyframe's steps begin.
const aloft = view.keyframes.map(() => []);

(function index() {
  const push = (map, key, value) => { const list = map.get(key); if (list) list.push(value); else map.set(key, [value]); };
  const last = new Map();
  const metadata = view.partitions.indexOf('metadata');
  let time = 0;
  view.steps.forEach((step, at) => {
    time += step.t || 0;
    timeAt[at] = time;
    if (step.n !== undefined) {
      beforeOf[at] = last.has(step.n) ? last.get(step.n) : -1;
      last.set(step.n, at);
    }
    for (const [lane, change] of step.c?.n || []) if (change.u !== undefined) lifeOf[lane].push([at, change.u]);
    for (const [node, partition, base, values] of step.a || []) push(appendsOf, node + ':' + partition, { at, base, values });
    for (const said of step.s || []) {
      // Who leads the metadata log is no turn of the story that is told of the others.
      if (said.k && said.p !== metadata && turns[said.k].at(-1) !== at) turns[said.k].push(at);
      if (view.lanes[said.n ?? step.n]?.kind === 'client') push(toldTo, said.n ?? step.n, { at, said });
    }
  });
  for (const message of messages) {
    push(sentBy, message.sent, message);
    if (message.ended <= LAST) push(readBy, message.ended, message);
    const first = Math.floor(message.sent / KEYFRAME_EVERY) + 1;
    const end = Math.min(Math.floor((Math.min(message.ended, LAST) - 1) / KEYFRAME_EVERY), aloft.length - 1);
    for (let key = first; key <= end; key++) aloft[key].push(message);
  }
  for (const failure of view.failures) push(failuresAt, failure.step, failure);
})();

const DEFAULTS = {
  r: () => ({ l: false, e: 0, v: 0, s: 0, h: 0, o: 0, d: 0, c: [], i: [], x: [] }),
  n: () => ({ u: false, p: false, c: false }),
  c: () => ({ s: 0, a: 0, r: 0, k: 0, d: [] }),
  d: () => ({ l: -1, e: 0, v: 0, i: [], x: [] }),
};

// Stands at one step and moves from there; going back begins at the keyframe before.
class Cursor {
  constructor() { this.at = -1; this.clear(); }

  clear() {
    this.replicas = new Map();
    this.nodes = new Map();
    this.clients = new Map();
    this.decided = new Map();
    this.cuts = [];
    this.faults = [];
  }

  apply(changes) {
    if (!changes) return;
    const change = (map, key, kind, by) => {
      if (!map.has(key)) map.set(key, DEFAULTS[kind]());
      Object.assign(map.get(key), by);
    };
    for (const [node, partition] of changes.g || []) this.replicas.delete(node + ':' + partition);
    for (const partition of changes.u || []) this.decided.delete(partition);
    for (const [node, partition, by] of changes.r || []) change(this.replicas, node + ':' + partition, 'r', by);
    for (const [node, by] of changes.n || []) change(this.nodes, node, 'n', by);
    for (const [node, by] of changes.c || []) change(this.clients, node, 'c', by);
    for (const [partition, by] of changes.d || []) change(this.decided, partition, 'd', by);
    if (changes.x) this.cuts = changes.x;
    if (changes.f) this.faults = changes.f;
  }

  // The cluster after step `at`; before the first with -1.
  goTo(at) {
    if (at < this.at || at - this.at > KEYFRAME_EVERY) {
      const key = Math.max(0, Math.floor(at / KEYFRAME_EVERY));
      this.clear();
      this.apply(view.keyframes[key]);
      this.at = key * KEYFRAME_EVERY - 1;
    }
    while (this.at < at) this.apply(view.steps[++this.at].c);
    return this;
  }

  replica(node, partition) { return this.replicas.get(node + ':' + partition); }
}

// Messages under way after step `at`.
function inFlight(at) {
  const key = Math.floor(at / KEYFRAME_EVERY);
  const found = (aloft[key] || []).filter((message) => message.ended > at);
  for (let step = key * KEYFRAME_EVERY; step <= at; step++) {
    for (const message of sentBy.get(step) || []) if (message.ended > at) found.push(message);
  }
  return found;
}

// What a step followed from: why, and which step.
function causesOf(at) {
  const causes = (view.steps[at].y || []).slice();
  const before = beforeOf[at];
  if (before >= 0 && !causes.some(([, step]) => step === before)) causes.push(['n', before]);
  return causes;
}

// The value of a record in a replica's log as of step `at`.
function valueAt(node, partition, offset, at) {
  const appends = appendsOf.get(node + ':' + partition) || [];
  for (let i = placeOf(appends, at + 1, (append) => append.at) - 1; i >= 0; i--) {
    const { base, values } = appends[i];
    if (base <= offset && offset < base + values.length) return textOf(values[offset - base]);
  }
  return '';
}

const epochAt = (replica, offset) => replica.c.reduce((epoch, [known, start]) => (start <= offset ? known : epoch), 0);
const isUp = (lane, at) => lifeOf[lane].reduce((up, [when, now]) => (when <= at ? now : up), false);
const laneOfId = new Map(view.lanes.map((lane, at) => [lane.id, at]).filter(([id]) => id >= 0));
const nameOfId = (id) => (laneOfId.has(id) ? view.lanes[laneOfId.get(id)].name : 'nobody');
const namesOfIds = (ids) => '{' + ids.map(nameOfId).join(', ') + '}';
const seconds = (at) => (timeAt[at] / 1e9).toFixed(6) + ' s';

function titleOf(at) {
  const step = view.steps[at];
  const read = (readBy.get(at) || []).filter((message) => message.to === step.n && !message.lost);
  const what = read.length ? 'reads ' + read.map((message) => `${kindOf(message)} of ${view.lanes[message.from].name}`).join(', ') : textOf(step.w);
  return (step.n === undefined ? '' : view.lanes[step.n].name + ' ') + what;
}
const kindOf = (message) => view.apis[message.api] + (message.answers < 0 ? '' : ' answer');
const routeOf = (message) => view.lanes[message.from].name + ' → ' + view.lanes[message.to].name;

// A step in one line: what was said counts more than that bytes were read.
function captionOf(at) {
  const step = view.steps[at];
  const told = (step.s || []).slice().sort((a, b) => (b.k ? 1 : 0) - (a.k ? 1 : 0))[0];
  if (told) return view.lanes[told.n ?? step.n].name + ' ' + textOf(told.w);
  return titleOf(at);
}
