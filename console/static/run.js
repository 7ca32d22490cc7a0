/** The page of one run. */

import { html, render } from "./base.js";
import { Page } from "./run/page.js";
import { Store } from "./run/store.js";

const place = document.getElementById("run");
const query = new URLSearchParams(location.search);
const event = query.has("at") ? Number(query.get("at")) : undefined;
const { workflowId, namespace, webUi } = place.dataset;
const store = new Store({ workflowId, runId: query.get("run_id"), event });
render(html`<${Page} store=${store} web=${{ address: webUi, namespace }} />`, place);
