/**
 * How the form looks that asks for the operator's token.
 */
export const signInStyle = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --accent: #0b57d0; --on: #fff; --bad: #b3261e; }
body { margin: 0; display: grid; place-items: center; min-height: 100vh; color: #1b1b1f; background: #fafafa; }
main { width: min(24rem, 100vw - 2rem); }
form { display: grid; gap: .5rem; }
input, button { font: inherit; padding: .5rem .75rem; border: 1px solid #767680; border-radius: .4rem; }
button { color: var(--on); background: var(--accent); border-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
#problem { color: var(--bad); margin: 0; }
@media (prefers-color-scheme: dark) {
  :root { --accent: #a8c7fa; --on: #062e6f; --bad: #f2b8b5; }
  body { color: #e3e3e8; background: #16171b; }
  input { color: inherit; background: #22232a; }
}
`
