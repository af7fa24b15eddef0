"""The ledger of a run: every trial in an Optuna study. The only folder that imports optuna.

What is promised, wherever the ledger is kept:

- **One trial each.** A (candidate, seed) is completed once, whatever dies, freezes or comes back. Of its trials only
  the oldest unfinished one may be claimed; a claim is Optuna's own atomic step from waiting to running, and a finished
  trial can no longer be written to. These two are the fence: a worker that froze finds its trial finished by another
  (`LeaseLostError`), and whatever it still holds is dropped.
- **Nothing stays running.** A worker renews its lease while it trains. Whoever looks on (a search, an idle worker)
  ends a trial whose lease was not renewed for `lease_seconds` and lets the (candidate, seed) wait again; a worker of
  the same machine that no longer exists is not waited for. Only the looker's own monotonic clock counts, so clocks that
  differ or step change nothing.
- **Bounded.** A lost trial is repeated ``retries`` times, a failed one not at all, until the command is given again.
  Each keeps its reason.

In a file in the run's folder: processes of one machine may work, and the kernel's lock, which ends with its process,
keeps them apart; one search at a time holds the folder. A line half written by a crash or a full disk is cut off before
the next one. When the file cannot be written the command ends in one line, and what was finished is kept. The file
belongs on a local disk: network file systems may not lock.

On PostgreSQL or MySQL: any node that reaches the server may work, several searches of one study agree on the same
trials, and while the server does not answer everything is tried again, for five minutes. SQLite, which takes one writer
at a time, is refused.
"""
