//! The last steps of a clean stop: everything durable, then the marker that says so, then the end.
//!
//! The marker promises that nothing needs recovery, so it is written only after every log and checkpoint is on the
//! platter; it holds the broker epoch, by which the controller knows a clean restart (KIP-966).

use super::{Broker, Phase};
use crate::disk::{Disk, DiskError, SyncTarget};
use crate::log::LogError;
use crate::machine::{Outbox, Output, SyncOwner, SyncTag};
use crate::note::Note;
use crate::types::Now;

/// Tag of the marker's syncs; above those of the checkpoint files.
const SEQ_MARKER_WRITTEN: u64 = u64::MAX - 1;

/// How far a clean stop has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Shutdown {
    /// Nobody asked for it.
    #[default]
    No,
    /// SIGTERM was heard; leaderships are moved away.
    Asked,
    /// Logs and checkpoints are being synced.
    Flushing,
    /// The marker's syncs under way.
    Marking(u8),
    /// The process may end.
    Done,
}

impl Shutdown {
    /// Everything is durable and the marker is on its way.
    pub(super) fn is_closing(self) -> bool {
        matches!(self, Shutdown::Marking(_) | Shutdown::Done)
    }

    pub(super) fn owns(self, tag: &SyncTag) -> bool {
        tag.seq == SEQ_MARKER_WRITTEN
    }

    pub(super) fn on_sync_done(
        &mut self,
        result: Result<(), DiskError>,
        _disk: &mut dyn Disk,
        _out: &mut Outbox,
    ) -> Result<(), LogError> {
        result.map_err(LogError::Disk)?;
        if let Shutdown::Marking(left) = *self {
            *self = if left > 1 {
                Shutdown::Marking(left - 1)
            } else {
                Shutdown::Done
            };
        }
        Ok(())
    }
}

impl Broker {
    /// SIGTERM.
    pub(super) fn on_terminate(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if self.shutdown != Shutdown::No {
            return Ok(());
        }
        self.shutdown = Shutdown::Asked;
        match &mut self.serving {
            Some(serving) => {
                // Replicas outside the ISR stop copying while leaderships move.
                serving.replicas.begin_shutdown();
                serving.lifecycle.on_terminate(&self.config, now, out);
            }
            None => out.note(Note::ShutdownStarted),
        }
        self.advance_shutdown(now, disk, out)
    }

    /// Takes the next step of a clean stop if it can be taken.
    pub(super) fn advance_shutdown(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if self.shutdown == Shutdown::Asked
            && self
                .serving
                .as_ref()
                .is_none_or(|serving| serving.lifecycle.phase() == Phase::Syncing)
        {
            self.quorum.resign(now, disk, out)?;
            self.deactivate(out);
            self.quorum.flush(out);
            if let Some(serving) = &mut self.serving {
                serving.replicas.flush_all(disk, out)?;
            }
            self.shutdown = Shutdown::Flushing;
        }
        if self.shutdown == Shutdown::Flushing
            && self.quorum.is_flushed()
            && self
                .serving
                .as_ref()
                .is_none_or(|serving| serving.replicas.all_flushed())
        {
            let epoch = self.serving.as_ref().and_then(|serving| serving.lifecycle.epoch());
            let file = super::identity::write_marker(epoch, disk).map_err(LogError::Disk)?;
            out.sync(SyncOwner::Checkpoint, SEQ_MARKER_WRITTEN, SyncTarget::File(file));
            out.sync(
                SyncOwner::Checkpoint,
                SEQ_MARKER_WRITTEN,
                SyncTarget::Dir(String::new()),
            );
            self.shutdown = Shutdown::Marking(2);
        }
        if self.shutdown == Shutdown::Done && !self.exited {
            out.note(Note::ShutdownCompleted);
            out.outputs.push(Output::Exit {
                reason: "controlled shutdown".to_owned(),
                clean: true,
            });
            self.exited = true;
        }
        Ok(())
    }
}
