"""The form for the key, before any other part of the page is sent."""

SIGN_IN = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Sign in · GuardAlign playground</title>
<style>
:root { --ink: #1b1d22; --paper: #f5f4f0; --card: #fff; --line: #8a8f99; --accent: #2447b8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceef2; --paper: #101216; --card: #1a1d23; --line: #7d8592; --accent: #9db7ff; }
}
body { margin: 0; min-height: 100vh; display: grid; place-items: center; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
form { background: var(--card); padding: 2rem; border-radius: 16px; width: min(22rem, 90vw);
  box-sizing: border-box; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; }
p { margin: 0 0 1.25rem; }
label { display: block; font-weight: 600; margin-bottom: .375rem; }
input, button { font: inherit; width: 100%; box-sizing: border-box; padding: .625rem .75rem;
  border-radius: 10px; border: 1px solid var(--line); color: inherit; background: transparent; }
button { margin-top: 1rem; border: 0; background: var(--accent); color: var(--card);
  font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
</style>
</head>
<body>
<form method="post" action="/playground/sign-in">
<h1>GuardAlign playground</h1>
<p>This server has a key. It is the one that its clients send.</p>
<label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="off" required autofocus>
<button>Sign in</button>
</form>
</body>
</html>
"""
