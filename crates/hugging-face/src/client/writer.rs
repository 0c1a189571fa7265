//! A file that a thread of its own writes, so that bytes are received and hashed meanwhile.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

/// Bytes that are written at a time, at most.
const PIECE_BYTES: usize = 1 << 19;
/// Pieces that wait to be written, at most.
const N_PIECES: usize = 16;
/// Bytes after which the system is told to bring to disk what was written: else the disk would
/// have nothing to do until the end, and all of it then.
const SYNC_BYTES: usize = 32 << 20;

/// A file that is being written.
pub(super) struct Writer {
    filled: SyncSender<(Vec<u8>, usize)>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Begins to write where the file stands.
    pub(super) fn new(file: File) -> Self {
        let (filled, to_write) = sync_channel::<(Vec<u8>, usize)>(N_PIECES);
        let (written, empty) = sync_channel(N_PIECES);
        for _ in 0..N_PIECES {
            // There is room for all of them, and nobody has gone yet.
            let _ = written.send(vec![0; PIECE_BYTES]);
        }
        let thread = thread::spawn(move || write_all(&file, to_write, &written));
        Self { filled, empty, thread }
    }

    /// A piece to fill, as soon as there is one; `None` if writing has failed.
    pub(super) fn piece(&self) -> Option<Vec<u8>> {
        self.empty.recv().ok()
    }

    /// Has the first `n` bytes of a piece written; `false` if writing has failed.
    pub(super) fn write(&self, piece: Vec<u8>, n: usize) -> bool {
        self.filled.send((piece, n)).is_ok()
    }

    /// Waits until everything is written, and says what failed.
    pub(super) fn end(self) -> io::Result<()> {
        let Self { filled, empty, thread } = self;
        drop((filled, empty));
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer has panicked")))
    }
}

/// Writes pieces and gives them back, while another thread brings to disk what is written.
fn write_all(
    file: &File,
    pieces: Receiver<(Vec<u8>, usize)>,
    written: &SyncSender<Vec<u8>>,
) -> io::Result<()> {
    thread::scope(|scope| {
        let (due, dues) = sync_channel::<()>(1);
        let syncing = scope.spawn(move || dues.iter().try_for_each(|()| file.sync_data()));
        let wrote = write_each(file, pieces, (written, due));
        // The system tells of a failed sync once, so that its answer must not be lost.
        let synced = syncing.join();
        wrote.and(synced.unwrap_or_else(|_| Err(io::Error::other("the syncer has panicked"))))
    })
}

/// Writes pieces until there are no more, or nobody syncs them any more.
fn write_each(
    mut file: &File,
    pieces: Receiver<(Vec<u8>, usize)>,
    (written, due): (&SyncSender<Vec<u8>>, SyncSender<()>),
) -> io::Result<()> {
    let mut unsynced = 0;
    for (piece, n) in pieces {
        file.write_all(piece.get(..n).unwrap_or(&piece))?;
        unsynced += n;
        if unsynced >= SYNC_BYTES {
            match due.try_send(()) {
                Ok(()) => unsynced = 0,
                Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => break,
            }
        }
        // Whoever wants no more pieces has gone.
        let _ = written.send(piece);
    }
    Ok(())
}
