// Before the first paint, so that nothing flashes.
try {
  const theme = localStorage.getItem('whatisup.theme');
  if (theme && theme !== 'system') document.documentElement.dataset.theme = theme;
} catch { /* storage may be switched off */ }
