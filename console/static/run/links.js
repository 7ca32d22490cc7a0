/** Where things are in Temporal's Web UI. */

export const runLink = ({ address, namespace }, { workflow_id: id, run_id: run }) =>
  `${address.replace(/\/$/, "")}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(id)}/${run}/history`;

export const eventLink = (web, header, event) => `${runLink(web, header)}/events/${event}`;
