//! Pinned rows: the same everywhere, few bytes read, and nothing of a file that changed.

use super::*;
use crate::{
    FilesSource, Mirror, Tokenizer,
    pack::{self, PackRules},
    remote::{Counting, Directory, WithReserve},
    sample::sample,
};
use protocol::{
    Seed,
    competition::{DatasetConfig, DrawRules, Packing},
};
use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::LazyLock,
};

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

fn folder() -> PathBuf {
    PathBuf::from("../../testdata/fineweb")
}

static SMALL: LazyLock<PinnedFile> =
    LazyLock::new(|| pin_file(&Directory::new(&folder()), "small.parquet", None, &|_| {}).unwrap());

/// A dataset of one file of 40 row groups with 9 rows each.
fn small() -> HubDataset {
    let files = vec![SMALL.clone()];
    HubDataset {
        repo: "acme/fineweb".to_owned(),
        text_column: "text".to_owned(),
        revision: Some(REVISION.parse().unwrap()),
        draw: DrawRules {
            text_bytes_min: 61,
            documents_per_group: 5,
            groups_per_file: 2,
            rounds_apart: 2,
        },
        configs: vec![DatasetConfig { name: "sample".to_owned(), weight: 1, files }],
    }
}

fn source(dataset: HubDataset) -> PinnedSource {
    PinnedSource::new(dataset, Box::new(Directory::new(&folder())), None).unwrap()
}

fn lot(seed: u64, turn: u64) -> Lot {
    Lot { seed: Seed::of_number(seed), turn }
}

fn drawn(source: &PinnedSource, lot: Lot) -> Vec<Document> {
    source.draw(Split::Evaluation, lot).collect::<Result<_, _>>().unwrap()
}

/// Numbers of the rows that documents are.
fn rows(documents: &[Document]) -> Vec<u64> {
    let number = |document: &Document| document.id.rsplit('#').next().unwrap().parse().unwrap();
    documents.iter().map(number).collect()
}

#[test]
fn the_rows_of_a_seed_are_frozen() {
    let documents = drawn(&source(small()), lot(1, 0));
    assert_eq!(rows(&documents), FROZEN);
    assert_eq!(documents[0].id, format!("acme/fineweb@{REVISION}/small.parquet#{}", FROZEN[0]));
    assert_eq!(drawn(&source(small()), lot(1, 0)), documents);
    assert_ne!(rows(&drawn(&source(small()), lot(2, 0))), FROZEN);
}
const FROZEN: [u64; 9] = [183, 186, 182, 180, 181, 5, 6, 0, 1];

#[test]
fn no_row_comes_twice_and_short_ones_never() {
    let source = source(small());
    for seed in 0..50 {
        let documents = drawn(&source, lot(seed, seed));
        let different: HashSet<u64> = rows(&documents).into_iter().collect();
        assert_eq!(different.len(), documents.len());
        assert!((5..=10).contains(&documents.len()), "two row groups, five of each at most");
        assert!(documents.iter().all(|document| document.text.len() >= 61));
    }
    // All rows that are long enough are in reach.
    let mut all = small();
    all.draw.documents_per_group = 9;
    let long = |turn| drawn(&self::source(all.clone()), lot(1, turn));
    let expected = (0..source.n_documents(Split::Evaluation))
        .map(|index| source.document(Split::Evaluation, index).unwrap())
        .filter(|document| document.text.len() >= 61);
    let found: HashSet<String> = [long(0), long(1)].concat().into_iter().map(|d| d.id).collect();
    assert_eq!(found, expected.map(|document| document.id).collect());
}

#[test]
fn rounds_in_a_row_share_no_row() {
    let mut dataset = small();
    dataset.draw.rounds_apart = 3;
    let source = source(dataset);
    for turn in 0..10 {
        let rounds = [turn, turn + 1, turn + 2].map(|turn| rows(&drawn(&source, lot(turn, turn))));
        let all: HashSet<u64> = rounds.iter().flatten().copied().collect();
        assert_eq!(all.len(), rounds.iter().map(Vec::len).sum::<usize>());
    }
}

#[test]
fn the_splits_share_no_row_and_have_all_of_them() {
    let source = source(small());
    let names = |split| -> HashSet<String> {
        let indices = 0..source.n_documents(split);
        indices.map(|index| source.document(split, index).unwrap().id).collect()
    };
    let (train, evaluation) = (names(Split::Train), names(Split::Evaluation));
    assert_eq!((train.len(), evaluation.len()), (324, 36));
    assert!(train.is_disjoint(&evaluation));
    let training = sample(&source, Split::Train, Seed::of_number(1), 40).unwrap();
    assert!(training.iter().all(|document| train.contains(&document.id)));
    let error = source.document(Split::Evaluation, 36).unwrap_err();
    assert!(matches!(error, Error::NoDocument { .. }), "{error}");
}

#[test]
fn a_row_is_found_again_by_its_name_and_no_other_name_finds_one() {
    let source = source(small());
    for document in drawn(&source, lot(3, 0)) {
        assert_eq!(source.document_of(&document.id).unwrap(), document);
    }
    let name = format!("acme/fineweb@{REVISION}/small.parquet");
    for wrong in [
        "".to_owned(),
        name.clone(),
        format!("{name}#"),
        format!("{name}#360"),
        format!("{name}#01"),
        format!("{name}#+1"),
        format!("{name}#-1"),
        format!("acme/fineweb@{REVISION}/other.parquet#1"),
        format!("acme/fineweb@{}/small.parquet#1", REVISION.replace('0', "1")),
    ] {
        assert!(matches!(source.document_of(&wrong), Err(Error::NoRow(_))), "{wrong}");
    }
}

#[test]
fn parts_are_drawn_by_their_rows_times_their_weights() {
    let mut dataset = small();
    dataset.draw = DrawRules { groups_per_file: 1, ..dataset.draw };
    let config = |name: &str, weight| {
        let files = vec![PinnedFile { path: format!("{name}.parquet"), ..SMALL.clone() }];
        DatasetConfig { name: name.to_owned(), weight, files }
    };
    dataset.configs = vec![config("a", 1), config("b", 3)];
    let layout = Layout::new(&dataset);
    let mut n_first = BTreeMap::from([(0, 0), (1, 0)]);
    for seed in 0..4_000 {
        let first = layout.order(Split::Evaluation, lot(seed, 0)).next().unwrap();
        *n_first.get_mut(&first.file).unwrap() += 1;
    }
    // Five standard deviations of a count with mean 1000.
    assert!((863..=1137).contains(&n_first[&0]), "{n_first:?}");
    let all = layout.order(Split::Evaluation, lot(1, 0)).collect::<HashSet<_>>();
    assert_eq!((all.len(), layout.order(Split::Evaluation, lot(1, 0)).count()), (4, 4));
}

#[test]
fn a_changed_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.parquet");
    let original = fs::read(folder().join("small.parquet")).unwrap();
    let error_of = |bytes: &[u8], dataset: HubDataset| {
        fs::write(&path, bytes).unwrap();
        let files = Box::new(Directory::new(dir.path()));
        let source = PinnedSource::new(dataset, files, None).unwrap();
        source.draw(Split::Evaluation, lot(1, 0)).find_map(Result::err)
    };
    assert!(error_of(&original, small()).is_none());
    let refused = |bytes: &[u8], dataset| {
        let error = error_of(bytes, dataset).unwrap();
        assert!(matches!(error, Error::NotPinned { .. }) && !error.is_transient(), "{error}");
    };
    let mut longer = original.clone();
    longer.push(0);
    refused(&longer, small());
    refused(&original[1..], small());
    let mut other_footer = original.clone();
    let at = original.len() - 1_000;
    other_footer[at] ^= 1;
    refused(&other_footer, small());
    let mut dataset = small();
    dataset.configs[0].files[0].rows_per_group = 10;
    refused(&original, dataset);
}

/// A place that names the digest of its files, as hubs do.
struct Naming(Digest);

impl RangeRead for Naming {
    fn size_bytes(&self, path: &str) -> Result<u64, Error> {
        Directory::new(&folder()).size_bytes(path)
    }
    fn sha256(&self, _: &str) -> Result<Option<Digest>, Error> {
        Ok(Some(self.0))
    }
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        Directory::new(&folder()).read_at(path, offset, buffer)
    }
}

#[test]
fn a_file_whose_place_names_another_digest_is_refused() {
    let first = |digest| {
        let source = PinnedSource::new(small(), Box::new(Naming(digest)), None).unwrap();
        source.draw(Split::Evaluation, lot(1, 0)).next().unwrap()
    };
    assert!(first(SMALL.sha256).is_ok());
    assert!(matches!(first(Digest::of(b"other")), Err(Error::NotPinned { .. })));
}

/// A place that answers nothing.
struct Gone;

impl Gone {
    fn error() -> Error {
        let (place, detail) = ("a hub".to_owned(), "no answer".to_owned());
        Error::Unreachable { place, detail, is_transient: true }
    }
}

impl RangeRead for Gone {
    fn size_bytes(&self, _: &str) -> Result<u64, Error> {
        Err(Self::error())
    }
    fn sha256(&self, _: &str) -> Result<Option<Digest>, Error> {
        Err(Self::error())
    }
    fn read_at(&self, _: &str, _: u64, _: &mut [u8]) -> Result<(), Error> {
        Err(Self::error())
    }
}

#[test]
fn a_source_that_fails_gives_no_round_and_a_mirror_gives_the_same_one() {
    let tokenizer = Tokenizer::train(&source(small()), 300).unwrap();
    let packing = Packing::Packed;
    let rules = PackRules { sequence_length: 32, n_batches: 3, sequences_per_batch: 2, packing };
    let round = |files| {
        let source = PinnedSource::new(small(), files, None).unwrap();
        pack::batches(&source, &tokenizer, lot(5, 1), rules)
    };
    let error = round(Box::new(Gone)).unwrap_err();
    assert!(error.is_transient(), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let mirror = || Mirror::new(dir.path());
    let filled = mirror().fill(&source(small()), &|_, _| {}).unwrap();
    assert_eq!((filled.n_pieces, filled.read_bytes), (5, filled.size_bytes));
    assert!(filled.size_bytes < SMALL.size_bytes / 2);
    let from_hub = round(Box::new(Directory::new(&folder()))).unwrap();
    assert_eq!(round(Box::new(mirror())).unwrap(), from_hub);
    assert_eq!(round(Box::new(WithReserve::new(Gone, mirror()))).unwrap(), from_hub);
    assert!(round(Box::new(WithReserve::new(Gone, Gone))).unwrap_err().is_transient());
}

#[test]
fn a_mirror_goes_on_where_it_stopped_and_mends_what_broke() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = Mirror::new(dir.path());
    mirror.fill(&source(small()), &|_, _| {}).unwrap();
    assert_eq!(mirror.fill(&source(small()), &|_, _| {}).unwrap().read_bytes, 0);
    let pieces = || {
        let entries = fs::read_dir(dir.path().join("small.parquet")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let before = pieces();
    fs::remove_file(&before[0]).unwrap();
    fs::write(&before[1], b"broken").unwrap();
    let on_mirror = PinnedSource::new(small(), Box::new(Mirror::new(dir.path())), None).unwrap();
    let all = (0..36).map(|index| on_mirror.document(Split::Evaluation, index));
    let errors: Vec<Error> = all.filter_map(Result::err).collect();
    assert!(!errors.is_empty());
    mirror.fill(&source(small()), &|_, _| {}).unwrap();
    assert_eq!(pieces(), before);
    assert!((0..36).all(|index| on_mirror.document(Split::Evaluation, index).is_ok()));
    let error = on_mirror.document(Split::Train, 0).unwrap_err();
    assert!(matches!(error, Error::NotMirrored { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn footers_are_kept_and_checked_whenever_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let n_bytes = || {
        let files: &'static Counting<Directory> =
            Box::leak(Box::new(Counting::new(Directory::new(&folder()))));
        let source =
            PinnedSource::new(small(), Box::new(Shared(files)), Some(dir.path().to_owned()));
        source.unwrap().document(Split::Evaluation, 0).unwrap();
        files.n_bytes()
    };
    let first = n_bytes();
    assert_eq!(first - n_bytes(), SMALL.footer_bytes);
    let kept = dir.path().join(SMALL.footer_sha256.hex());
    fs::write(&kept, b"broken").unwrap();
    assert_eq!(n_bytes(), first);
    assert_eq!(fs::read(&kept).unwrap().len() as u64, SMALL.footer_bytes);
}

#[test]
fn a_folder_that_cannot_be_written_keeps_no_footers_and_nobody_from_drawing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let files = Box::new(Directory::new(&folder()));
    let source = PinnedSource::new(small(), files, Some(file.join("footers"))).unwrap();
    assert!(source.document(Split::Evaluation, 0).is_ok());
}

struct Shared(&'static Counting<Directory>);

impl RangeRead for Shared {
    fn size_bytes(&self, path: &str) -> Result<u64, Error> {
        self.0.size_bytes(path)
    }
    fn sha256(&self, path: &str) -> Result<Option<Digest>, Error> {
        self.0.sha256(path)
    }
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.0.read_at(path, offset, buffer)
    }
}

#[test]
fn a_dataset_that_cannot_be_drawn_from_says_why() {
    let refused = |change: fn(&mut HubDataset)| {
        let mut dataset = small();
        change(&mut dataset);
        let files = Box::new(Directory::new(&folder()));
        PinnedSource::new(dataset, files, None).err().unwrap().to_string()
    };
    assert!(refused(|d| d.revision = None).contains("no revision"));
    assert!(refused(|d| d.configs.clear()).contains("no files"));
    let few = refused(|d| d.draw.rounds_apart = 5);
    assert!(few.contains("40 row groups, and 41 at least are needed"), "{few}");
    assert!(few.contains("row_group_size=4"), "{few}");
    assert!(refused(|d| d.configs[0].files[0].n_rows = 0).contains("n_rows"));
}

#[test]
fn parquet_files_of_this_machine_are_text_files_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(folder().join("small.parquet"), dir.path().join("small.parquet")).unwrap();
    let local = FilesSource::open(dir.path()).unwrap();
    let count = local.n_documents(Split::Train) + local.n_documents(Split::Evaluation);
    assert!((300..=360).contains(&count), "{count}");
    let first = local.document(Split::Train, 0).unwrap();
    assert_eq!(first.id, "files/train/0");
}

/// A file with a row group for each list of texts.
fn written(groups: &[&[&str]]) -> Vec<u8> {
    use parquet::{
        data_type::{ByteArray, ByteArrayType},
        file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };
    let schema = parse_message_type("message rows { required binary text (UTF8); }").unwrap();
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::default()).unwrap();
    for texts in groups {
        let values: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    file.into_inner().unwrap()
}

#[test]
fn row_groups_and_files_without_rows_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (full, empty): (&[&str], &[&str]) = (&["one", "two"], &[]);
    let write = |name: &str, groups: &[&[&str]]| {
        fs::write(dir.path().join(name), written(groups)).unwrap();
    };
    write("a.parquet", &[full, full, empty]);
    write("b.parquet", &[full, empty, full, full]);
    write("none.parquet", &[]);
    write("empty.parquet", &[empty, empty]);
    let files = Directory::new(dir.path());
    let pin = |name: &str| pin_file(&files, name, None, &|_| {});
    assert_eq!((pin("a.parquet").unwrap().n_groups(), pin("b.parquet").unwrap().n_rows), (2, 6));
    for name in ["none.parquet", "empty.parquet"] {
        let error = pin(name).unwrap_err();
        assert!(matches!(error, Error::NoRows { .. }), "{error}");
    }
    let configs = vec![DatasetConfig {
        name: "all".to_owned(),
        weight: 1,
        files: vec![pin("a.parquet").unwrap(), pin("b.parquet").unwrap()],
    }];
    let draw = DrawRules { text_bytes_min: 1, rounds_apart: 1, ..DrawRules::default() };
    let dataset = HubDataset { configs, draw, ..small() };
    let files = Box::new(Directory::new(dir.path()));
    let source = PinnedSource::new(dataset, files, None).unwrap();
    source.try_each_file(&|_| ()).unwrap();
    let third = format!("acme/fineweb@{REVISION}/b.parquet#3");
    assert_eq!(source.document_of(&third).unwrap().text, "two");
}

#[test]
fn each_file_is_tried_as_a_draw_would_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = |texts: &[&str]| {
        fs::write(dir.path().join("a.parquet"), written(&[texts, texts])).unwrap();
        let files = Directory::new(dir.path());
        let files_of = vec![pin_file(&files, "a.parquet", None, &|_| {}).unwrap()];
        let configs = vec![DatasetConfig { name: "a".to_owned(), weight: 1, files: files_of }];
        let draw = DrawRules { rounds_apart: 1, ..DrawRules::default() };
        PinnedSource::new(HubDataset { configs, draw, ..small() }, Box::new(files), None).unwrap()
    };
    assert!(source(&["one", ""]).try_each_file(&|_| ()).is_ok());
    assert!(source(&["", "one"]).try_each_file(&|_| ()).is_ok());
    let error = source(&["", " "]).try_each_file(&|_| ()).unwrap_err().to_string();
    assert!(error.contains("no row that was looked at has a text in `text`"), "{error}");
}
