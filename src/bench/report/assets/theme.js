// Before the first paint, or a dark page would flash white.
try {
  const chosen = localStorage.getItem('swath-theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch (error) {
  // Pages from a file may have no storage; then the system's scheme holds.
}
