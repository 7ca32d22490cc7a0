/** Where cards are to each other on the screen. */

const middle = ({ left, right, top, bottom }) => [(left + right) / 2, (top + bottom) / 2];

/** Of named boxes the one whose middle is nearest. */
export function nearest(box, boxes) {
  const [x, y] = middle(box);
  const far = ([, other]) => Math.hypot(middle(other)[0] - x, middle(other)[1] - y);
  return boxes.toSorted((one, other) => far(one) - far(other))[0]?.[0];
}

/** Of named boxes the nearest one in a direction: what is aside counts twice. */
export function towards(box, boxes, direction) {
  const [x, y] = middle(box);
  const ways = { down: [0, 1], up: [0, -1], right: [1, 0], left: [-1, 0] };
  const [across, down] = ways[direction];
  let best;
  let least = Infinity;
  for (const [name, other] of boxes) {
    const [dx, dy] = [middle(other)[0] - x, middle(other)[1] - y];
    const ahead = dx * across + dy * down;
    const aside = Math.abs(dx * down) + Math.abs(dy * across);
    if (ahead > 4 && ahead + 2 * aside < least) [best, least] = [name, ahead + 2 * aside];
  }
  return best;
}
