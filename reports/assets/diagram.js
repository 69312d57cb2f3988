// Space and time: a lane for each node, a row for each shown step, an arrow for each message between two rows.

const ROW = 28;
const SIGNS = { e: 'E', t: 'T', i: 'I', a: 'A' };

const signOf = (at) => (failuresAt.has(at) ? '!' : view.steps[at].f && view.lanes[view.steps[at].n]?.kind !== 'client' ? '×' : SIGNS[turnsAt(at)[0]] || '');

// The rows around a step: mostly what led to it, a little of what follows.
function rowsAround(at, count) {
  const list = filter.visible;
  let place = placeOf(list, at);
  const isIn = list[place] === at;
  const first = Math.max(0, Math.min(place - Math.floor(count * 0.68), list.length - count + (isIn ? 0 : 1)));
  const rows = list.slice(first, first + count - (isIn ? 0 : 1));
  if (!isIn) rows.splice(placeOf(rows, at), 0, at);
  return rows;
}

function drawDiagram(now, secret) {
  const box = byId('diagram');
  const lanes = shownLanes();
  const count = Math.max(8, Math.floor((box.clientHeight - 34) / ROW));
  const rows = rowsAround(now, count).filter((at) => !secret || at <= now);
  const wide = box.clientWidth > 520;
  const gap = Math.max(28, Math.min(46, Math.floor((wide ? box.clientWidth * 0.56 : box.clientWidth - 12) / lanes.length)));
  const width = gap * lanes.length + 8;
  const x = (lane) => 4 + gap * lanes.indexOf(lane) + gap / 2;
  const rowOf = new Map(rows.map((at, row) => [at, row]));
  // A step that is not shown lies between the rows around it.
  const y = (at) => 34 + ROW * (rowOf.has(at) ? rowOf.get(at) + 0.5 : Math.min(placeOf(rows, Math.min(at, LAST + 1)), rows.length));
  const height = 34 + ROW * rows.length;

  const heads = lanes.map((lane) => s('text', { x: x(lane), y: 20, class: 'lane-name' }, view.lanes[lane].name));
  const lines = lanes.flatMap((lane) => rows.map((at, row) => s('line', {
    x1: x(lane), x2: x(lane), y1: 34 + ROW * row, y2: 34 + ROW * (row + 1), class: isUp(lane, at) ? 'life' : 'life down',
  })));

  const seen = new Map();
  for (const at of rows) for (const message of [...(sentBy.get(at) || []), ...(readBy.get(at) || [])]) seen.set(message.number, message);
  const isDrawn = (message) => lanes.includes(message.from) && lanes.includes(message.to) && message.sent <= (secret ? now : Infinity);
  // Those of this step find room for their names first.
  const drawn = [...seen.values()].filter(isDrawn).sort((a, b) => isAt(b, now) - isAt(a, now));
  const room = roomAround(rows.filter((at) => lanes.includes(view.steps[at].n)).map((at) => [x(view.steps[at].n), y(at)]), width);
  const arrows = drawn.map((message) => arrow(message, now, x, y, secret, room));

  const dots = rows.map((at) => dot(at, now, lanes, x, y, width));
  const picture = s('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': 'Space-time diagram: time runs down, a lane for each node' },
    s('rect', { x: 0, y: y(now) - ROW / 2, width, height: ROW, class: 'now-row' }), heads, lines, arrows, dots);
  const captions = wide && h('ol', { class: 'captions', 'aria-label': 'Steps' }, rows.map((at) => h('li', { class: classOfRow(at, now) },
    h('a', { href: '#step=' + (at + 1), 'data-step': at, 'aria-current': at === now ? 'step' : null, title: captionOf(at) }, captionOf(at)))));
  refill('diagram', picture, captions);
}

const classOfRow = (at, now) => (at === now ? 'now' : at > now ? 'later' : '');

const isAt = (message, now) => message.sent === now || message.ended === now;

// Where an arrow's name covers neither a dot nor another name; null where there is no such place, and pointing at it tells.
function roomAround(dots, width) {
  const taken = dots.map(([x, y]) => [x - 6, y - 6, x + 6, y + 6]);
  return (name, x1, y1, x2, y2) => {
    const half = name.length * 3.1 + 2;
    for (const share of [0.5, 0.3, 0.7, 0.15, 0.85]) {
      for (const lift of [9, -7]) {
        const [x, y] = [Math.max(half, Math.min(width - half, x1 + (x2 - x1) * share)), y1 + (y2 - y1) * share + lift];
        const [left, top, right, bottom] = [x - half, y - 10, x + half, y + 3];
        if (taken.some(([l, t, r, b]) => left < r && l < right && top < b && t < bottom)) continue;
        taken.push([left, top, right, bottom]);
        return { x, y };
      }
    }
    return null;
  };
}

function arrow(message, now, x, y, secret, room) {
  const isHere = isAt(message, now);
  const isAloft = message.sent <= now && message.ended > now;
  const [x1, y1, x2] = [x(message.from), y(message.sent), x(message.to)];
  const y2 = secret && isAloft ? y(now) + ROW / 2 : y(message.ended);
  const name = `${routeOf(message)} ${kindOf(message)}, sent at step ${message.sent + 1}, `
    + (message.lost ? 'lost' : message.ended <= LAST ? 'read at step ' + (message.ended + 1) : 'never read');
  const kind = isHere ? ' here' : isAloft ? ' aloft' : message.sent > now ? ' later' : '';
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const tip = (turn) => `${x2 - 9 * Math.cos(angle + turn) - 5 * Math.cos(angle)},${y2 - 9 * Math.sin(angle + turn) - 5 * Math.sin(angle)}`;
  const shows = () => inspect(message);
  const label = (isHere || isAloft) && room(kindOf(message), x1, y1, x2, y2);
  return s('g', { class: 'arrow' + kind + (message.lost ? ' lost' : ''), tabindex: isHere || isAloft ? 0 : null, role: 'img', 'aria-label': name, onmouseenter: shows, onfocus: shows, onclick: shows },
    s('title', {}, name),
    s('line', { x1, y1, x2, y2, class: 'hit' }),
    s('line', { x1, y1, x2, y2, class: 'shaft' }),
    message.lost
      ? s('text', { x: x2, y: y2 + 4, class: 'lost-sign' }, '✕')
      : s('polygon', { points: `${x2 - 5 * Math.cos(angle)},${y2 - 5 * Math.sin(angle)} ${tip(0.45)} ${tip(-0.45)}` }),
    label && s('text', { ...label, class: 'api' }, kindOf(message)));
}

function dot(at, now, lanes, x, y, width) {
  const step = view.steps[at];
  const sign = signOf(at);
  const isWide = step.n === undefined;
  if (!isWide && !lanes.includes(step.n)) return null;
  const cx = isWide ? width / 2 : x(step.n);
  return s('g', { class: 'dot ' + classOfRow(at, now) + (sign === '!' ? ' failed' : sign === '×' ? ' outside' : ''), onclick: () => go(at) },
    s('title', {}, captionOf(at)),
    isWide && s('line', { x1: 4, x2: width - 4, y1: y(at), y2: y(at), class: 'across' }),
    s('circle', { cx, cy: y(at), r: sign ? 9 : 5 }),
    sign && s('text', { x: cx, y: y(at) + 4 }, sign));
}
