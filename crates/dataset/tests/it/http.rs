//! A small server of ranges on the loopback device, and what is read through it.

use dataset::{
    Document, Error, Lot, PinnedSource, RangeRead, Source as _, Split, remote::Directory,
    source::pinned::pin_file,
};
use protocol::{
    Digest, Seed,
    competition::{DatasetConfig, DrawRules, HubDataset},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

const PATH: &str = "small.parquet";

fn folder() -> PathBuf {
    PathBuf::from("../../testdata/fineweb")
}

/// Serves one file by range, as long as the test runs.
struct Server {
    address: SocketAddr,
    n_bytes: Arc<AtomicU64>,
}

impl Server {
    fn new(file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let n_bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&n_bytes);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(stream.unwrap(), &file, &counter);
            }
        });
        Self { address, n_bytes }
    }

    fn source(&self, footers: Option<PathBuf>) -> PinnedSource {
        let files = Box::new(Client { address: self.address });
        PinnedSource::new(pinned(), files, footers).unwrap()
    }
}

/// Answers `HEAD` with the size and `GET` with the range that is asked for.
fn answer(stream: TcpStream, file: &[u8], n_bytes: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut lines, mut line) = (Vec::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        lines.push(std::mem::take(&mut line).trim().to_owned());
    }
    let range = lines.iter().find_map(|line| line.strip_prefix("Range: bytes="));
    let part = match range.and_then(|range| range.split_once('-')) {
        Some((first, last)) => {
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            file.get(first..=last).unwrap_or_default()
        }
        None => file,
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n\r\n", part.len())?;
    if lines[0].starts_with("GET") {
        n_bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
        stream.write_all(part)?;
    }
    Ok(())
}

struct Client {
    address: SocketAddr,
}

impl Client {
    /// The length that the server states, and the reader of what follows.
    fn ask(&self, method: &str, range: &str) -> Result<(u64, BufReader<TcpStream>), Error> {
        let gone = |detail: String| {
            let place = self.address.to_string();
            Error::Unreachable { place, detail, is_transient: true }
        };
        let mut stream = TcpStream::connect(self.address).map_err(|e| gone(e.to_string()))?;
        write!(stream, "{method} /{PATH} HTTP/1.1\r\n{range}\r\n")
            .map_err(|e| gone(e.to_string()))?;
        let mut reader = BufReader::new(stream);
        let (mut length, mut line) = (None, String::new());
        while reader.read_line(&mut line).map_err(|e| gone(e.to_string()))? > 2 {
            if let Some(text) = line.strip_prefix("Content-Length: ") {
                length = text.trim().parse().ok();
            }
            line.clear();
        }
        Ok((length.ok_or_else(|| gone("no length".to_owned()))?, reader))
    }
}

impl RangeRead for Client {
    fn size_bytes(&self, _: &str) -> Result<u64, Error> {
        Ok(self.ask("HEAD", "")?.0)
    }

    fn sha256(&self, _: &str) -> Result<Option<Digest>, Error> {
        Ok(None)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let last = offset + buffer.len() as u64 - 1;
        let (_, mut reader) = self.ask("GET", &format!("Range: bytes={offset}-{last}\r\n"))?;
        reader.read_exact(buffer).map_err(|error| Error::Unreachable {
            place: path.to_owned(),
            detail: error.to_string(),
            is_transient: true,
        })
    }
}

fn pinned() -> HubDataset {
    let file = pin_file(&Directory::new(&folder()), PATH, Some("text"), &|_| {}).unwrap();
    HubDataset {
        repo: "acme/fineweb".to_owned(),
        text_column: "text".to_owned(),
        revision: Some("0123456789abcdef0123456789abcdef01234567".parse().unwrap()),
        draw: DrawRules { documents_per_group: 5, rounds_apart: 1, ..DrawRules::default() },
        configs: vec![DatasetConfig { name: "a".to_owned(), weight: 1, files: vec![file] }],
    }
}

fn draw(source: &PinnedSource, n: usize) -> Result<Vec<Document>, Error> {
    let lot = Lot { seed: Seed::of_number(7), turn: 1 };
    source.draw(Split::Evaluation, lot).take(n).collect()
}

#[test]
fn two_machines_draw_the_same_rows_over_http_and_read_a_footer_and_a_chunk_per_row_group() {
    let server = Server::new(fs::read(folder().join(PATH)).unwrap());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let n_bytes = || server.n_bytes.swap(0, Ordering::Relaxed);
    let documents = draw(&server.source(Some(first.path().to_owned())), 10).unwrap();
    let with_footer = n_bytes();
    assert_eq!(draw(&server.source(Some(second.path().to_owned())), 10).unwrap(), documents);
    assert_eq!(n_bytes(), with_footer);
    // Again on the first machine: the footer is there.
    assert_eq!(draw(&server.source(Some(first.path().to_owned())), 10).unwrap(), documents);
    let footer_bytes = pinned().configs[0].files[0].footer_bytes;
    let chunks = n_bytes();
    assert_eq!(with_footer - chunks, footer_bytes);
    // Ten documents, five of each row group at most: two or three of forty.
    let size_bytes = pinned().configs[0].files[0].size_bytes;
    assert!(chunks < size_bytes * 3 / 40, "{chunks} of {size_bytes}");
}

#[test]
fn a_file_that_changed_on_the_server_is_refused_and_a_server_that_is_gone_is_not_its_fault() {
    let mut changed = fs::read(folder().join(PATH)).unwrap();
    let at = changed.len() - 100;
    changed[at] ^= 1;
    let error = draw(&Server::new(changed).source(None), 1).unwrap_err();
    assert!(matches!(error, Error::NotPinned { .. }) && !error.is_transient(), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let source = PinnedSource::new(pinned(), Box::new(Client { address }), None).unwrap();
    assert!(draw(&source, 1).unwrap_err().is_transient());
}
