"""What operators see of a process: metrics, probes, traces and logs."""
