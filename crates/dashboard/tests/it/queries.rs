//! What the index answers is what anybody finds who goes through the records one by one.

use crate::scene::{Home, Judge, Player, player, rules_of_succession};
use dashboard::{
    figures::Estimate,
    index::{Crown, Index, Known, Series, Standing, Stretch, Wanted},
};
use protocol::{
    AccountId, Block, Digest, Record, Uid,
    record::{Judged, Model},
};
use records::Signed;
use std::collections::{BTreeMap, BTreeSet};

/// Who takes part in each round, a bit for each of five players.
const ROUNDS: [u8; 12] = [
    0b00001, 0b00011, 0b00111, 0b00000, 0b11010, 0b11111, 0b01010, 0b10001, 0b00000, 0b00110,
    0b11111, 0b00011,
];
/// What the players are worth.
const QUALITIES: [f64; 5] = [0.0, 0.1, 0.05, 0.2, 0.15];

fn players(bits: u8) -> Vec<Player> {
    let all = (1..).zip(QUALITIES).map(|(uid, quality)| player(uid, quality));
    all.filter(|player| (bits >> (player.uid - 1)) & 1 == 1).collect()
}

/// A judge of rounds in which models come and go, what it published, and who has read it.
fn scene() -> (Judge, Vec<Record>, Home) {
    let mut judge = Judge::new(1);
    judge.rules = rules_of_succession();
    let records = ROUNDS.map(|bits| judge.judge(&players(bits))).into();
    let mut home = Home::new();
    home.rules = vec![rules_of_succession()];
    home.read(&[&judge]);
    (judge, records, home)
}

/// Blocks to ask as of: before the first round, of each, and between them.
fn moments() -> impl Iterator<Item = Block> {
    (1_000..=1_125).step_by(5).chain([u64::MAX]).map(Block)
}

/// Records up to a block, newest first.
fn until(records: &[Record], block: Block) -> impl Iterator<Item = &Record> {
    records.iter().rev().filter(move |record| record.round.block <= block)
}

fn champion(record: &Record) -> Option<&Model> {
    let of = |uid: Uid| record.models.iter().find(|judged| judged.model.uid == uid);
    record.champion.and_then(of).map(|judged| &judged.model)
}

fn estimate(model: &Model) -> Option<Estimate> {
    Estimate::of_losses(model.finding.losses())
}

#[test]
fn records_are_found_by_number_by_block_and_in_pages_as_they_were_published() {
    let (judge, records, home) = scene();
    let (index, series) = (home.index(), judge.series());
    for record in &records {
        let number = record.round.number;
        let row = index.record(series, number).unwrap().unwrap();
        assert_eq!((row.number, row.block), (number, record.round.block));
        assert_eq!((row.digest, row.rules), (record.digest(), judge.rules.digest()));
        assert_eq!(row.n_models, record.models.len() as u64);
        assert_eq!(row.n_documents, record.round.documents.len() as u64);
        assert!(row.is_derived && row.is_paid_checked);
        assert_eq!(row.bits_of_nat, record.round.bits_per_byte(1.0));
        assert_eq!(row.optimum, record.round.optimum.map(|optimum| optimum.value()));
        let holder = row.champion.map(|it| (it.uid, it.hotkey, it.root, it.loss));
        let wanted = champion(record).map(|model| {
            let loss = estimate(model).map(|it| it.mean);
            (model.uid.0, model.hotkey, model.tensor_root, loss)
        });
        assert_eq!(holder, wanted, "record {number}");
        assert_eq!(&index.whole(row.id).unwrap(), record);
        let bytes = std::fs::read(judge.path(number)).unwrap();
        assert_eq!(index.signed(row.id).unwrap(), bytes, "record {number}");
    }
    let strangers = Series { validator: AccountId([7; 32]), ..series };
    for none in [Series { competition: "other", ..series }, strangers] {
        assert_eq!(index.record(none, 1).unwrap(), None, "{none:?}");
    }
    for block in moments() {
        let believed = index.believed(series, block, 3).unwrap();
        let newest: Vec<u64> = believed.iter().map(|row| row.number).collect();
        let wanted: Vec<u64> = until(&records, block).map(|it| it.round.number).collect();
        assert_eq!(newest, wanted.iter().copied().take(3).collect::<Vec<_>>(), "{block}");
        let latest = index.latest(series, block).unwrap();
        assert_eq!(latest.map(|row| row.number), wanted.first().copied(), "{block}");
        for (n_max, skip) in [(100, 0), (3, 0), (3, 2), (5, 10), (0, 0)] {
            let rows = index.records(series, block, Stretch { skip, n_max }).unwrap();
            let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
            let (n_max, skip) = (n_max as usize, skip as usize);
            let page: Vec<u64> = wanted.iter().copied().skip(skip).take(n_max).collect();
            assert_eq!(numbers, page, "{n_max} after {skip} at {block}");
        }
        let rows = index.between(series, Block(1_035), block).unwrap();
        let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
        let mut between: Vec<u64> = wanted.into_iter().filter(|number| *number > 3).collect();
        between.reverse();
        assert_eq!(numbers, between, "{block}");
    }
}

/// Changes of the crown: number of the record, who took it, and who had it.
fn changes(records: &[Record]) -> Vec<(u64, u16, Option<u16>)> {
    let (mut found, mut holder) = (Vec::new(), None::<&Model>);
    for record in records {
        let Some(model) = champion(record) else { continue };
        let who = |model: &Model| (model.hotkey, model.tensor_root);
        if holder.map(who) != Some(who(model)) {
            found.push((record.round.number, model.uid.0, holder.map(|it| it.uid.0)));
        }
        holder = Some(model);
    }
    found.reverse();
    found
}

#[test]
fn crowns_are_the_changes_of_the_champion_from_record_to_record() {
    let (judge, records, home) = scene();
    let (index, series) = (home.index(), judge.series());
    let all = changes(&records);
    assert!(all.len() > 4, "{all:?}");
    let told = |crown: &Crown| {
        (crown.row.number, crown.to.uid, crown.from.as_ref().map(|former| former.uid))
    };
    for block in moments() {
        let n_known = until(&records, block).count();
        let wanted: Vec<_> =
            all.iter().filter(|(number, ..)| *number <= n_known as u64).copied().collect();
        let crowns = index.crowns(series, block, 100).unwrap();
        assert_eq!(crowns.iter().map(told).collect::<Vec<_>>(), wanted, "{block}");
        let last = index.crowns(series, block, 1).unwrap();
        assert_eq!(last.iter().map(told).next(), wanted.first().copied(), "{block}");
    }
    for record in &records {
        let number = record.round.number;
        let row = index.record(series, number).unwrap().unwrap();
        let wanted = all.iter().find(|(changed, ..)| *changed == number).copied();
        assert_eq!(index.crown(row.id).unwrap().as_ref().map(told), wanted, "record {number}");
    }
}

#[test]
fn losses_of_champions_and_of_all_models_are_those_of_the_records() {
    let (judge, records, home) = scene();
    let (index, series) = (home.index(), judge.series());
    for block in moments() {
        let mut known: Vec<&Record> = until(&records, block).collect();
        known.reverse();
        let of_champion = |record: &&Record| {
            let loss = estimate(champion(record)?)?.mean;
            Some((record.round.block, loss))
        };
        let wanted: Vec<(Block, f64)> = known.iter().filter_map(of_champion).collect();
        assert_eq!(index.champion_losses(series, block, 100).unwrap(), wanted, "{block}");
        let of_models = |record: &&Record| -> Vec<(Block, f64)> {
            let means = record.models.iter().filter_map(|judged| estimate(&judged.model));
            means.map(|mean| (record.round.block, mean.mean)).collect()
        };
        let all: Vec<(Block, f64)> = known.iter().flat_map(of_models).collect();
        assert_eq!(index.model_losses(series, block, 1_000).unwrap(), all, "{block}");
        let optimum = |record: &&Record| {
            let told = record.round.optimum.map(|optimum| optimum.value());
            (record.round.block, told)
        };
        let told: Vec<(Block, Option<f64>)> = known.iter().map(optimum).collect();
        assert_eq!(index.optima(series, block, 100).unwrap(), told, "{block}");
        // Where they are more than are wanted, some are left out and never the newest round.
        let few = index.champion_losses(series, block, 4).unwrap();
        assert!(few.len() <= 5 && few.iter().all(|point| wanted.contains(point)), "{block}");
        let newest = known.last().map(|record| record.round.block);
        let is_newest = |point: &&(Block, f64)| Some(point.0) == newest;
        let (kept, there) = (few.last(), wanted.last());
        assert_eq!(kept.filter(is_newest), there.filter(is_newest), "{block}");
        for root in (1..=5).map(|uid| player(uid, 0.0).root()) {
            let last = index.last_measured(series, root, block).unwrap().map(|row| row.number);
            let holds = |record: &&Record| champion(record).unwrap().tensor_root == Some(root);
            let crowned = until(&records, block).filter(|record| record.champion.is_some());
            let wanted = crowned.filter(holds).map(|it| it.round.number).next();
            assert_eq!(last, wanted, "{block}");
        }
    }
}

/// What a page shows of how a model came out of a round.
type Outcome = (u64, u16, Option<f64>, u64, u64, f64, f64);

fn shown(standing: &Standing) -> Outcome {
    let Standing { number, holder, n, wins, win_rate, weight, .. } = standing;
    (*number, holder.uid, holder.loss, *n, *wins, *win_rate, *weight)
}

fn wanted(record: &Record, judged: &Judged) -> Outcome {
    let (model, verdict) = (&judged.model, &judged.verdict);
    let loss = estimate(model).map(|it| it.mean);
    let n = model.finding.losses().len() as u64;
    let (number, uid) = (record.round.number, model.uid.0);
    (number, uid, loss, n, verdict.wins, verdict.win_rate, verdict.weight)
}

#[test]
fn results_of_models_and_of_miners_are_those_of_the_records() {
    let (judge, records, home) = scene();
    let (index, series) = (home.index(), judge.series());
    for record in &records {
        let row = index.record(series, record.round.number).unwrap().unwrap();
        let standings = index.standings(&row).unwrap();
        let all: Vec<Outcome> = record.models.iter().map(|it| wanted(record, it)).collect();
        assert_eq!(standings.iter().map(shown).collect::<Vec<_>>(), all);
        for standing in &standings {
            let key = (standing.holder.uid, standing.holder.hotkey);
            let average = record.averages.iter().find(|it| (it.uid.0, it.hotkey) == key);
            assert_eq!(standing.average, average.map_or(0.0, |it| it.weight));
            assert_eq!(standing.commit_block, Block(standing.holder.uid.into()));
            assert_eq!(standing.bits_of_nat, record.round.bits_per_byte(1.0));
            let build = standing.build.as_ref().unwrap();
            let n_parameters = 1_000_000 + u64::from(standing.holder.uid);
            assert_eq!((build.architecture.as_str(), build.n_parameters), ("llama", n_parameters));
        }
    }
    for block in moments().step_by(2) {
        for uid in 1..=5 {
            let (root, hotkey) = (player(uid, 0.0).root(), hotkey(&records, uid));
            let all: Vec<Outcome> = until(&records, block)
                .flat_map(|record| record.models.iter().map(move |judged| (record, judged)))
                .filter(|(_, judged)| judged.model.uid.0 == uid)
                .map(|(record, judged)| wanted(record, judged))
                .collect();
            for whom in [Wanted::Root(root), Wanted::Miner(hotkey)] {
                let found = index.history(series, whom, block, 100).unwrap();
                assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), all, "{whom:?}, {block}");
                assert_eq!(index.judges_of(whom).unwrap(), [(series.validator, "tiny".to_owned())]);
            }
            let rows = index.measured(series, root, block, 100).unwrap();
            let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
            assert_eq!(numbers, all.iter().map(|outcome| outcome.0).collect::<Vec<_>>());
        }
    }
    let nobody = Wanted::Root(Digest::of(b"no model"));
    assert!(index.judges_of(nobody).unwrap().is_empty());
    assert!(index.history(series, nobody, Block(u64::MAX), 100).unwrap().is_empty());
}

fn hotkey(records: &[Record], uid: u16) -> AccountId {
    let mut models = records.iter().flat_map(|record| &record.models);
    models.find(|judged| judged.model.uid.0 == uid).unwrap().model.hotkey
}

#[test]
fn what_is_known_of_models_is_the_last_of_them_and_of_pairs_the_last_of_both() {
    let (judge, records, home) = scene();
    let (index, series) = (home.index(), judge.series());
    let root = |uid: u16| player(uid, 0.0).root();
    let has =
        |record: &Record, uid: u16| record.models.iter().any(|judged| judged.model.uid.0 == uid);
    for block in moments() {
        let all: BTreeSet<Digest> = (1..=5).map(root).collect();
        let known = index.known_losses(series, block, &all, 64).unwrap();
        let mut last = BTreeMap::new();
        for record in until(&records, block) {
            for judged in &record.models {
                let bits_of_nat = record.round.bits_per_byte(1.0);
                let (number, loss) = (record.round.number, estimate(&judged.model).unwrap());
                let found = Known { number, loss, bits_of_nat };
                last.entry(judged.model.tensor_root.unwrap()).or_insert(found);
            }
        }
        assert_eq!(known, last, "{block}");
        let one: BTreeSet<Digest> = [root(3)].into();
        let found = index.known_losses(series, block, &one, 64).unwrap();
        assert_eq!(found.get(&root(3)), last.get(&root(3)), "{block}");
        for (a, b) in [(1, 2), (2, 1), (1, 3), (4, 5), (3, 5)] {
            let row = index.common(series, block, (root(a), root(b))).unwrap();
            let mut both = until(&records, block).filter(|it| has(it, a) && has(it, b));
            let number = both.next().map(|record| record.round.number);
            assert_eq!(row.map(|row| row.number), number, "{a} and {b} at {block}");
        }
    }
}

/// What a record found for what it measured.
fn found(record: &Record) -> Vec<(Option<Digest>, Vec<f64>)> {
    let all = record.models.iter().map(|judged| {
        let losses = judged.model.finding.losses();
        (judged.model.tensor_root, losses.iter().map(|loss| loss.value()).collect())
    });
    all.filter(|(_, losses): &(_, Vec<f64>)| !losses.is_empty()).collect()
}

#[test]
fn how_far_validators_agree_is_counted_round_by_round() {
    let mut judges = [1, 2, 3].map(Judge::new);
    let mut all: Vec<Vec<Record>> = Vec::new();
    for (at, judge) in judges.iter_mut().enumerate() {
        judge.rules = rules_of_succession();
        // The second judges less, and finds another loss in one round; the third judges others.
        let n_rounds = [8, 6, 7][at];
        let rounds = ROUNDS.iter().take(n_rounds).enumerate().map(|(round, bits)| {
            let mut players = players(*bits);
            if (at, round) == (1, 2) {
                players[0].quality = 0.3;
            }
            if at == 2 {
                players.truncate(1);
            }
            judge.judge(&players)
        });
        all.push(rounds.collect());
    }
    let mut home = Home::new();
    home.rules = vec![rules_of_succession()];
    home.read(&[&judges[0], &judges[1], &judges[2]]);
    let index = home.index();
    let who = |record: &Record| champion(record).map(|it| (it.hotkey, it.tensor_root));
    for (judge, own) in judges.iter().zip(&all) {
        for block in moments().step_by(2) {
            let mut wanted = BTreeMap::new();
            for record in until(own, block) {
                let validator = record.round.validator;
                let others = all.iter().flatten().filter(|other| {
                    other.round.block == record.round.block && other.round.validator != validator
                });
                let others: Vec<&Record> = others.collect();
                let same = others.iter().filter(|other| found(other) == found(record)).count();
                let crowned = others.iter().filter(|other| who(other) == who(record)).count();
                let counts = [others.len(), same, crowned].map(|n| n as u64);
                wanted.extend((!others.is_empty()).then_some((record.round.number, counts)));
            }
            assert_eq!(index.agreements(judge.series(), block, 100).unwrap(), wanted, "{block}");
        }
    }
    let rows = index.others("tiny", Block(1_030)).unwrap();
    let told: BTreeSet<AccountId> = rows.iter().map(|other| other.row.validator).collect();
    let wanted: BTreeSet<AccountId> = judges.iter().map(|judge| judge.key.public()).collect();
    assert_eq!(told, wanted);
    assert!(index.others("tiny", Block(1_035)).unwrap().is_empty());
}

#[test]
fn records_of_other_processes_are_seen_whole_or_not_at_all() {
    let (judge, _, home) = scene();
    let index = home.index();
    let count = |index: &Index| index.n_records(judge.series()).unwrap();
    let signed = |number: u64| -> Signed { crate::reading::read(&judge, number) };
    let checked = |number: u64| dashboard::index::Checked::alone(signed(number));
    let other = Home::new();
    let mut writing = Index::open(other.path()).unwrap();
    let looking = Index::look(other.path()).unwrap();
    // The second of a number is refused, and with it all that came in its lot.
    assert!(writing.take_in(&[checked(1), checked(2), checked(2)], None, "a place").is_err());
    assert_eq!((count(&writing), count(&looking)), (0, 0));
    assert!(looking.heads().unwrap().is_empty());
    let moment = looking.at_once(|looking| {
        let before = count(looking);
        writing.take_in(&[checked(1), checked(2)], None, "a place").unwrap();
        writing.take_in(&[checked(3)], None, "another place").unwrap();
        Ok::<_, dashboard::index::Error>((before, count(looking)))
    });
    assert_eq!(moment.unwrap(), (0, 0), "a page is of one moment");
    assert_eq!((count(&writing), count(&looking)), (3, 3));
    assert_eq!(looking.heads().unwrap()[0].source, "another place");
    let standings = |index: &Index, number: u64| {
        let row = index.record(judge.series(), number).unwrap().unwrap();
        index.standings(&row).unwrap().iter().map(shown).collect::<Vec<_>>()
    };
    for number in 1..=3 {
        assert_eq!(standings(&looking, number), standings(&index, number), "record {number}");
    }
}
