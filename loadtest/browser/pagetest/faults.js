// Lists what is wrong with the layout of a page.
(() => {
  const faults = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) faults.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${wide}`);
  for (const e of document.querySelectorAll('body *'))
    if (/auto|scroll/.test(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth) faults.push(`${e.getAttribute('aria-label') || e.tagName} has to be scrolled: ${e.scrollWidth} in ${e.clientWidth}`);

  // A line of text each. What is there for readers of the screen alone is left out.
  const lines = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();) {
    const parent = node.parentElement;
    if (!node.data.trim() || parent.closest('script, style') || !parent.checkVisibility({visibilityProperty: true})) continue;
    let hidden = false, cut = null;
    for (let e = parent; e && e !== document.body; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.clipPath !== 'none') hidden = true;
      if (/hidden|clip/.test(style.overflowX)) cut = cut || e.getBoundingClientRect();
    }
    if (hidden) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const r of range.getClientRects()) {
      if (r.width < 1) continue;
      const text = node.data.trim().replace(/\s+/g, ' ').slice(0, 60);
      if (r.left < -.5 || r.right > wide + .5) faults.push(`"${text}" is outside of the window, from ${r.left} to ${r.right}`);
      if (cut && (r.left < cut.left - .5 || r.right > cut.right + .5)) faults.push(`"${text}" is cut off`);
      lines.push({r, text, parent});
    }
  }
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  lines.forEach((a, i) => {
    for (const b of lines.slice(i + 1)) if (meet(a.r, b.r)) faults.push(`"${a.text}" and "${b.text}" overlap`);
  });
  for (const e of document.querySelectorAll('.track, svg')) {
    const r = e.getBoundingClientRect();
    for (const l of lines) if (!e.contains(l.parent) && meet(r, l.r)) faults.push(`"${l.text}" lies over a drawing`);
  }
  return faults;
})()
