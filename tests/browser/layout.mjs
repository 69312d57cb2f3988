// Nothing overlaps and nothing is cut, on a screen and on a phone, in light, dark and print.

import { launch, open, test, close, assert, home } from './browser.mjs';

const browser = await launch();

// Elements that lie in no other of the list must not cover each other, and what they say must fit into them.
const flaws = (page) => page.evaluate(() => {
  const found = [];
  scrollTo(0, 0); // What stays in sight lies over the rest otherwise.
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().width > 1;
  const told = (element) => `${element.tagName}${element.id ? '#' + element.id : ''}.${element.getAttribute('class') || ''} "${(element.textContent || '').slice(0, 30)}"`;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(isSeen);
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  const boxes = all('button, select, input, summary, h1, h2, #now, #cluster, #diagram, .panel, .replica, .who, .track, #nodes li, #decision, .legend, #now li, #clients li, .captions li, .lane-name, .api');
  boxes.forEach((one, i) => boxes.slice(i + 1).forEach((other) => {
    if (one.contains(other) || other.contains(one)) return;
    const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
    const [wide, high] = [Math.min(a.right, b.right) - Math.max(a.left, b.left), Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
    if (wide > 1 && high > 1) found.push(`${told(one)} and ${told(other)} overlap by ${wide.toFixed()}x${high.toFixed()}`);
  }));
  for (const element of all('button, h1, h2, #now, #cluster, .panel, .who, .cell, .cell i, #nodes li, #decision, li, p, .track')) {
    if (element.closest('.captions')) continue; // Ends in dots on purpose; the whole sentence is its title.
    const style = getComputedStyle(element);
    if (element.scrollWidth > element.clientWidth + 1 && style.display !== 'inline') found.push(`${told(element)} is cut at ${element.clientWidth} of ${element.scrollWidth}`);
  }
  for (const mark of all('.mark span')) {
    const [inner, outer] = [mark.getBoundingClientRect(), mark.closest('.track').getBoundingClientRect()];
    if (inner.left < outer.left - 1 || inner.right > outer.right + 1) found.push(`${told(mark)} leaves its track`);
  }
  const svg = document.querySelector('#diagram svg').getBoundingClientRect();
  const box = document.querySelector('#diagram').getBoundingClientRect();
  if (svg.right > box.right + 1 || svg.bottom > box.bottom + 1) found.push('the diagram is cut');
  for (const name of all('.lane-name')) if (name.getBoundingClientRect().right > svg.right + 1) found.push(`${told(name)} leaves the diagram`);
  return found.slice(0, 12);
});

const moments = [['section-17-timeline', ''], ['section-17-timeline', '#step=1'], ['section-17-timeline', 't'], ['museum-02-timeline', ''], ['museum-02-timeline', 'v'], ['unclean-election-loses', 't']];
for (const [width, height] of [[1280, 800], [390, 844]]) {
  for (const [number, [name, moment]] of moments.entries()) {
    await test(`${name}${moment} at ${width}x${height}`, async () => {
      const { page, errors } = await open(browser, `${home}/${name}.html`, { hash: moment.startsWith('#') ? moment : '', width, height, colorScheme: number % 2 ? 'dark' : 'light' });
      if (moment.length === 1) await page.keyboard.press(moment);
      await page.waitForTimeout(600); // The cut record falls into its place.
      await page.screenshot({ path: `${home}/${name}-${number}-${width}.png`, fullPage: width < 600 });
      assert.deepEqual(await flaws(page), []);
      for (const summary of await page.locator('summary').all()) if (!(await summary.evaluate((element) => element.parentElement.open))) await summary.click();
      assert.deepEqual(await flaws(page), [], 'with everything unfolded');
      assert.deepEqual(errors, []);
      await page.close();
    });
  }
}

await test('no name of an arrow covers another one, at any step', async () => {
  const { page } = await open(browser, home + '/section-17-timeline.html', {});
  const [covered, shown] = await page.evaluate(() => {
    let [covered, shown] = [0, 0];
    for (let at = 0; at <= LAST; at += 5) {
      go(at);
      const names = [...document.querySelectorAll('.api')].map((name) => name.getBoundingClientRect());
      shown += names.length;
      names.forEach((a, i) => names.slice(i + 1).forEach((b) => {
        covered += Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
      }));
    }
    return [covered, shown];
  });
  assert.equal(covered, 0);
  assert.ok(shown > 300, `${shown} names`);
  await page.close();
});

await test('a print shows the moment and no controls', async () => {
  const { page } = await open(browser, home + '/section-17-timeline.html', {});
  await page.keyboard.press('t');
  await page.emulateMedia({ media: 'print' });
  assert.ok(!(await page.locator('.controls').isVisible()) && !(await page.locator('.tools').isVisible()));
  for (const id of ['now', 'cluster', 'diagram', 'why-panel', 'clients-panel']) assert.ok(await page.locator('#' + id).isVisible(), id);
  await page.pdf({ path: home + '/print.pdf', format: 'A4', printBackground: true });
  await page.close();
});

await browser.close();
close();
