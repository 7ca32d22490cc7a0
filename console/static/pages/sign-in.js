/** A token is sent once; the browser keeps it in a cookie that no script can read. */

import { Problem, html, post, render, useState } from "../base.js";

const WHY = {
  TOKEN_EXPIRED: "Your sign-in has expired. Sign in again to go on.",
  TOKEN_INVALID: "Your token is no longer valid. Sign in with another one.",
};
const asked = new URLSearchParams(location.search);

/** Where to go on: a path of this origin, whatever the address of the page says. */
function next() {
  const found = new URL(asked.get("next") ?? "/", location.origin);
  return found.origin === location.origin && found.pathname !== "/sign-in" ? found.pathname + found.search : "/";
}

function SignIn() {
  const [token, setToken] = useState("");
  const [error, setError] = useState(null);
  const signIn = async (event) => {
    event.preventDefault();
    try {
      await post("/sign-in", { token });
      location.replace(next());
    } catch (refused) {
      setError(refused);
    }
  };
  return html`<form class="card sign-in" onSubmit=${signIn}>
    <h1>Sign in</h1>
    ${error ? html`<${Problem} error=${error} />` : WHY[asked.get("why")] && html`<p class="note">${WHY[asked.get("why")]}</p>`}
    <label class="field">Token
      <input type="password" value=${token} autocomplete="current-password" required autofocus
        onInput=${(event) => setToken(event.target.value)} />
    </label>
    <button class="primary" disabled=${!token.trim()}>Sign in</button>
    <p class="quiet-text">The token that you were given, or one of your issuer.</p>
  </form>`;
}

render(html`<${SignIn} />`, document.getElementById("main"));
