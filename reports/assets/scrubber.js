// The whole run as a line: click or drag anywhere; where something turned there is a letter.

function drawScrubber() {
  const box = byId('ticks');
  const room = Math.max(1, Math.floor(box.clientWidth / 14));
  const taken = new Map();
  const marks = [...turns.v.map((at) => [at, '!']), ...turns.t.map((at) => [at, 'T']), ...turns.e.map((at) => [at, 'E']), ...turns.i.map((at) => [at, 'I'])];
  // One letter a place, the graver one first; those that find none are reached by the buttons.
  for (const [at, sign] of marks) {
    const place = Math.min(room - 1, Math.floor((at / Math.max(1, LAST)) * room));
    if (!taken.has(place)) taken.set(place, [at, sign]);
  }
  refill('ticks', [...taken].map(([place, [at, sign]]) => h('a', {
    href: '#step=' + (at + 1), 'data-step': at, tabindex: -1, class: sign === '!' ? 'failed' : '', style: `left:${(place / room) * 100}%`, title: `step ${at + 1}: ${captionOf(at)}`,
  }, sign)));
}
