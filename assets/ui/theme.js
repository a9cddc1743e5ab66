// Runs before the first paint, so that a chosen theme does not flash in the other one.
// "system" is the absence of the attribute: tokens.css then follows the machine.
(() => {
  let theme = null;
  try { theme = localStorage.getItem('whatisup.theme'); } catch { /* storage may be switched off */ }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
