// The recorded run lies in the page as JSON, gzipped, in base64: a fifth of its size. The scripts begin when it is read.

(async () => {
  const packed = Uint8Array.from(atob(document.getElementById('view').textContent), (letter) => letter.charCodeAt(0));
  window.view = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
  const script = document.createElement('script');
  script.textContent = document.getElementById('scripts').textContent;
  document.body.append(script);
})().catch((error) => document.body.append(`This page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`));
