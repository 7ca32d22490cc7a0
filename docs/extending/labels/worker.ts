// Activities in TypeScript, for nodes of the type `activity`. This worker does not know Anabranch.
import { activityInfo, CancelledFailure, CompleteAsyncError, heartbeat, sleep } from "@temporalio/activity";
import { NativeConnection, Worker } from "@temporalio/worker";

// A heartbeat says how far it is; the next attempt goes on from there.
async function pack(pieces: number): Promise<{ packed: number; attempts: number }> {
  const { attempt, heartbeatDetails } = activityInfo();
  for (let packed = (heartbeatDetails as number | undefined) ?? 0; packed < pieces; packed++) {
    heartbeat(packed);
    await sleep(20);
    if (attempt === 1 && packed === 2) throw new Error("the tape is used up");
  }
  return { packed: pieces, attempts: attempt };
}

// Somebody else completes it, by the ids of the workflow and of the node: here the printer's own service.
async function print(label: string): Promise<string> {
  console.log(`asked to print ${label}`);
  throw new CompleteAsyncError();
}

// A cancelled run cancels it with its next heartbeat. What it does then is waited for.
async function collect(parcel: string): Promise<void> {
  console.log(`a courier is asked for ${parcel}`);
  try {
    for (;;) {
      heartbeat();
      await sleep(50);
    }
  } catch (error) {
    if (error instanceof CancelledFailure) console.log(`the courier for ${parcel} is sent back`);
    throw error;
  }
}

const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS ?? "localhost:7233" });
const worker = await Worker.create({ connection, taskQueue: "labels", activities: { pack, print, collect } });
console.log("the worker for labels has started");
await worker.run();
await connection.close();
