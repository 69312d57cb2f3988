// Opening and stepping of a large page, in the browser's own time.

import { statSync } from 'node:fs';
import { launch, open, home } from './browser.mjs';

const file = home + '/long.html';
const browser = await launch();
const opened = [];
const { page } = await open(browser, file);
for (let i = 0; i < 5; i++) {
  await page.reload();
  opened.push(await page.evaluate(() => new Promise((done) => {
    const look = () => (document.getElementById('place')?.textContent ? done(performance.now()) : setTimeout(look, 1));
    look();
  })));
}
const steps = await page.evaluate(() => LAST + 1);
// What a key costs up to the next picture on the screen, and without waiting for that.
const timed = (places) => page.evaluate(async (places) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const times = [];
  for (const place of places) {
    const from = performance.now();
    if (place === 'forward') forward(); else if (place === 'back') back(); else go(place);
    document.body.getBoundingClientRect();
    times.push(performance.now() - from);
    await painted();
  }
  return times;
}, places);
const told = (name, times) => {
  const sorted = times.slice().sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1);
  console.log(`${name.padEnd(22)} median ${at(0.5).padStart(7)} ms   99 % ${at(0.99).padStart(7)} ms   worst ${at(1).padStart(7)} ms   of ${times.length}`);
};
console.log(`${steps} steps, ${(statSync(file).size / 1e6).toFixed(1)} MB`);
told('opening', opened);
await page.evaluate((at) => go(at), Math.floor(steps / 2));
told('a step forward', await timed(Array(300).fill('forward')));
told('a step back', await timed(Array(300).fill('back')));
told('anywhere', await timed(Array.from({ length: 200 }, (_, i) => (i * 7919) % steps)));
await browser.close();
