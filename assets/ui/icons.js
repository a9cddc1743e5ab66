// The icons live in one drawing, /icons.svg; each use clones its shapes, so that page styles reach inside.

const sheet = await fetch('/icons.svg')
  .then((answer) => answer.text())
  .then((text) => new DOMParser().parseFromString(text, 'image/svg+xml'))
  .catch(() => new DOMParser().parseFromString('<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml'));

/** A decorative icon: its meaning is always written beside it or in the label of its control. */
export function icon(name, className = 'i') {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const symbol = sheet.getElementById(name);
  svg.setAttribute('class', className);
  svg.setAttribute('viewBox', symbol?.getAttribute('viewBox') ?? '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  for (const shape of symbol?.children ?? []) svg.append(document.importNode(shape, true));
  return svg;
}
