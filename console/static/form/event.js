/** The form by which an event is delivered to a node that waits for it. */

export const eventSchema = ({ names }) => ({
  type: "object",
  required: ["name"],
  properties: {
    name: { type: "string", enum: names, default: names[0] },
    id: { type: "string", description: "An event that is sent again with its id counts once" },
    data: { description: "What the event brings" },
  },
});

/** The names of what a node waits for, in words. */
export const namesOf = ({ names, needs_all: needsAll }) =>
  names.join(needsAll ? " and " : " or ");
