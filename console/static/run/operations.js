/** What can be done with the run as a whole: pause it, let it go on, cancel it once it was seen what that undoes. */

import { Choice, Dialog, html, Problem, toastError, useState } from "../base.js";
import { about, useAnswer } from "./ask.js";
import { Rerun } from "./rerun.js";
import { tell } from "./steer.js";

export function Operations({ store, may }) {
  const { header } = store;
  const [isCancelling, setCancelling] = useState(false);
  const [isBusy, setBusy] = useState(false);
  if (!may("operator") || header.end?.kind === "continued") return null;
  if (header.end) {
    const isOffered = header.graph && header.end.kind !== "completed";
    return isOffered ? html`<div class="operations"><${Rerun} store=${store} /></div>` : null;
  }
  const act = async (verb, said) => {
    setBusy(true);
    await tell(store, verb, {}, said).catch(toastError);
    setBusy(false);
  };
  return html`<div class="operations">
    ${header.is_paused
      ? html`<button type="button" class="primary" disabled=${isBusy} onClick=${() => act("resume", "The run goes on")}>Resume</button>`
      : html`<button type="button" disabled=${isBusy} onClick=${() => act("pause", "Nothing new starts until the run is resumed")}>Pause</button>`}
    <button type="button" class="danger" aria-haspopup="dialog" onClick=${() => setCancelling(true)}>Cancel …</button>
    ${isCancelling && html`<${CancelDialog} store=${store} onClose=${() => setCancelling(false)} />`}
  </div>`;
}

function CancelDialog({ store, onClose }) {
  const [isBusy, setBusy] = useState(false);
  const [refused, setRefused] = useState(null);
  const { value: plan, error } = useAnswer(about(store, "undo-plan", { as_of: store.header.event }), 0);
  const cancel = async () => {
    setBusy(true);
    try {
      await tell(store, "cancel", { undoes: plan ? plan.steps.map(({ address }) => address) : [] }, "The run is to be cancelled");
      onClose();
    } catch (problem) {
      setRefused(problem);
      setBusy(false);
    }
  };
  const isOver = Boolean(store.header.end);
  return html`<${Dialog} title="Cancel this run?" onClose=${onClose}>
    ${(refused ?? error) && html`<${Problem} error=${refused ?? error} />`}
    ${isOver ? html`<p>The run is over: it can no longer be cancelled.</p>` : plan && html`<${Plan} plan=${plan} />`}
    <${Choice} label="Cancel the run" tone="danger" isBusy=${isBusy} isDisabled=${isOver || !(plan || error)} onChoose=${cancel} onClose=${onClose} />
  <//>`;
}

function Plan({ plan: { steps, is_parallel: isParallel, stays, done, failed, pivoted } }) {
  const order = isParallel ? "those with the same number at the same time" : "one after the other";
  return html`<div class="plan">
    <p>${steps.length === 0 ? "Nothing would be undone." : steps.length === 1 ? "This would undo one step:" : `This would undo ${steps.length} steps, ${order}:`}</p>
    <ol>${steps.map((step) => html`<li key=${step.address} value=${step.wave}>
      <strong>${step.address}</strong> <span class="quiet-text">by ${step.type}</span>
      ${!step.is_certain && html` <span class="badge">${step.is_under_way ? "under way" : "not known whether it happened"}</span>`}
      ${step.sees.length > 0 && html`<details><summary>What its compensation sees</summary>
        <ul>${step.sees.map(([key, text]) => html`<li key=${key}><code>${key} = ${text}</code></li>`)}</ul></details>`}
    </li>`)}</ol>
    ${stays.length > 0 && html`<p><strong>What stays:</strong> ${stays.join(", ")}</p>`}
    ${done.length > 0 && html`<p>Undone already: ${done.join(", ")}</p>`}
    ${failed.length > 0 && html`<p>Could not be undone: ${failed.join(", ")}</p>`}
    ${pivoted && html`<p>A pivot has succeeded, or may have: what came before it is not undone any more.</p>`}
  </div>`;
}
