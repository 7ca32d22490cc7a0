/** The bar of every page: who uses it, and how many questions wait. */

import { Choice, Dialog, html, me, rename, render, signOut, toastError, useLive, useState } from "./base.js";

const INBOX_SECONDS = 10;

function Me({ who }) {
  const [isOpen, setOpen] = useState(false);
  return html`
    ${who.read_only && html`<span class="badge">read-only</span>`}
    <button type="button" class="quiet who" onClick=${() => setOpen(true)} aria-haspopup="dialog">
      <span class="name">${who.name}</span><span class="role">${who.role}</span>
    </button>
    ${isOpen && html`<${who.signed_in ? SignedIn : Named} who=${who} onClose=${() => setOpen(false)} />`}
  `;
}

function SignedIn({ who, onClose }) {
  return html`<${Dialog} title=${who.name} onClose=${onClose}>
    <p>You are signed in as <strong>${who.role}</strong>. What you do is noted under this name.</p>
    <${Choice} label="Sign out" onChoose=${signOut} onClose=${onClose} />
  <//>`;
}

function Named({ who, onClose }) {
  const [name, setName] = useState(who.name);
  const keep = async () => {
    try {
      await rename(name);
      location.reload();
    } catch (error) {
      toastError(error);
    }
  };
  return html`<${Dialog} title="Your name" onClose=${onClose}>
    <label class="field">What you do is noted under this name
      <input value=${name} maxlength="100" autocomplete="name" onInput=${(event) => setName(event.target.value)} />
    </label>
    <${Choice} label="Keep" isDisabled=${!name.trim()} onChoose=${keep} onClose=${onClose} />
  <//>`;
}

function InboxCount() {
  const { value } = useLive("/api/inbox/count", INBOX_SECONDS);
  return value?.runs
    ? html`Inbox <span class="count">${value.runs}<span class="unseen"> runs wait</span></span>`
    : html`Inbox`;
}

const place = document.getElementById("me");
if (place) {
  me().then((who) => render(html`<${Me} who=${who} />`, place), () => {});
  const inbox = document.getElementById("place-inbox");
  inbox.textContent = "";
  render(html`<${InboxCount} />`, inbox);
}
