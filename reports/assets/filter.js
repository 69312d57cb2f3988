// Which steps are shown, and which one a search finds.

const filter = { level: 'story', hidden: new Set(), partition: -1, api: -1, visible: [] };
view.lanes.forEach((lane, at) => { if (lane.kind === 'testbed') filter.hidden.add(at); });
const shownLanes = () => view.lanes.map((_, at) => at).filter((at) => !filter.hidden.has(at));

const turnsAt = (at) => (view.steps[at].s || []).map((said) => said.k).filter(Boolean);
const isDecisive = (at) => turnsAt(at).length > 0 || view.steps[at].f || view.steps[at].q || failuresAt.has(at);

// What is told of the metadata log alone is its upkeep; who leads it is not.
const isStory = (at) => isDecisive(at) || (view.steps[at].s || []).some((said) => said.p === undefined || view.partitions[said.p] !== 'metadata');

function isShown(at) {
  const step = view.steps[at];
  if (step.n !== undefined && filter.hidden.has(step.n)) return false;
  if (filter.level === 'turns' && !isDecisive(at)) return false;
  if (filter.level === 'said' && !step.s && !isDecisive(at)) return false;
  if (filter.level === 'story' && !isStory(at)) return false;
  const touches = (test) => (sentBy.get(at) || []).some(test) || (readBy.get(at) || []).some(test);
  if (filter.api >= 0 && !touches((message) => message.api === filter.api)) return false;
  if (filter.partition >= 0) {
    const p = filter.partition;
    const said = (step.s || []).some((said) => said.p === p);
    if (!said && !step.f && !touches((message) => message.partitions.includes(p))) return false;
  }
  return true;
}

function applyFilter() {
  filter.visible = [];
  for (let at = 0; at <= LAST; at++) if (isShown(at)) filter.visible.push(at);
}

// The first place in a sorted list whose step is not below `at`.
function placeOf(list, at, step = (entry) => entry) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (step(list[middle]) < at) low = middle + 1; else high = middle;
  }
  return low;
}
const nextOf = (list, at) => list[placeOf(list, at + 1)];
const previousOf = (list, at) => list[placeOf(list, at) - 1];

// Everything that a step says, for the search.
function allTextOf(at) {
  const step = view.steps[at];
  const parts = [titleOf(at), ...(step.s || []).map((said) => textOf(said.w)), step.q?.told || ''];
  for (const [, , , values] of step.a || []) parts.push(...values.map(textOf));
  for (const message of sentBy.get(at) || []) parts.push(kindOf(message), textOf(message.words));
  return parts.join('\n').toLowerCase();
}

// The next step of a shown node, in either direction and around the end, that says `query`; -1 if none does.
function find(query, from, direction) {
  const wanted = query.trim().toLowerCase();
  for (let tried = 1; wanted && tried <= LAST + 1; tried++) {
    const at = (from + direction * tried + (LAST + 1) * 2) % (LAST + 1);
    if (!filter.hidden.has(view.steps[at].n) && allTextOf(at).includes(wanted)) return at;
  }
  return -1;
}
