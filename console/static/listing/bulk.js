/** What came of something that was done to many runs. */

import { Choice, Dialog, html, toast, useState } from "../base.js";

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Say what came of it; the runs that refused are listed, with why. */
export function Outcome({ outcome, onClose }) {
  return html`<${Dialog} title="Not all of them" onClose=${onClose}>
    <p>Done for ${counted(outcome.done, "run")}. ${counted(outcome.refused.length, "run")} refused:</p>
    <${RunList} runs=${outcome.refused} />
    <div class="choice"><button type="button" class="primary" onClick=${onClose}>Close</button></div>
  <//>`;
}

export function RunList({ runs }) {
  return html`<ul class="run-list" tabindex="0" aria-label="Runs">
    ${runs.map((each) => html`<li key=${each.run_id + (each.address ?? "")}><span class="mono">${each.workflow_id}</span>
      ${each.message && html`<span class="quiet-text">${each.message}</span>`}</li>`)}
  </ul>`;
}

/** Asks before something is done to runs that are named, with their count; `children` may have named some of them. */
export function Confirm({ title, label, tone, runs, listed = runs, onDo, onDone, onClose, isDisabled, children }) {
  const [isBusy, setBusy] = useState(false);
  const [outcome, setOutcome] = useState(null);
  const act = async () => {
    setBusy(true);
    try {
      const found = await onDo();
      if (found.refused.length) setOutcome(found);
      else {
        toast(`Done for ${counted(found.done, "run")}`, "good");
        onDone();
      }
    } catch (error) {
      setOutcome({ done: 0, refused: runs.map((each) => ({ ...each, message: error.message })) });
    }
    setBusy(false);
  };
  if (outcome) return html`<${Outcome} outcome=${outcome} onClose=${onDone} />`;
  return html`<${Dialog} title=${title} onClose=${onClose}>
    ${children}
    ${listed.length > 0 && html`<${RunList} runs=${listed} />`}
    <${Choice} label=${label} tone=${tone} isBusy=${isBusy} isDisabled=${isDisabled} onChoose=${act} onClose=${onClose} />
  <//>`;
}
