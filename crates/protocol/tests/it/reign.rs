//! Crown and duels from round to round, on models whose worth is known.

use protocol::{
    AccountId, Block, BlockHash, Competition, Digest, Loss, Merit, NetUid, ReasonCode, Record, Uid,
    competition::{LossKind, Packing, Rule},
    duel::{
        Bout, Decided, DuelRules, Entrant, Fight, Hidden, Missing, Predecessor, Progress, Reign,
        Verdict, Wanted,
    },
    loss::mean,
    pool::overtaking_blocks,
    record::{DocumentDigest, Finding, Model, Round, Setting, Skipped, verify_chain, verify_duels},
    weights::{MovingAverage, softmax},
};
use std::collections::BTreeMap;

use crate::duel::number;

/// A model by what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Player {
    pub(crate) uid: u16,
    pub(crate) coldkey: u16,
    /// Block of its commitment.
    pub(crate) block: u64,
    /// By how much its losses are lower, a fraction of them.
    pub(crate) quality: f64,
    /// How far a document may be from that.
    pub(crate) noise: f64,
    /// Which documents are: equal for models with equal losses.
    pub(crate) luck: u64,
}

/// A player with an owner of its own, committed to in order of uid.
pub(crate) fn player(uid: u16, quality: f64) -> Player {
    let (block, luck) = (u64::from(uid), u64::from(uid));
    Player { uid, coldkey: 1_000 + uid, block, quality, noise: 0.002, luck }
}

/// A number from −1 to 1 that follows from two.
fn noise(a: u64, b: u64) -> f64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    (word >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

pub(crate) fn account(n: u16) -> AccountId {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    AccountId(bytes)
}

impl Player {
    pub(crate) fn root(&self) -> Digest {
        number(u64::from(self.uid))
    }

    pub(crate) fn hotkey(&self) -> AccountId {
        account(self.uid)
    }

    /// Its loss on a document, with four decimals.
    pub(crate) fn loss(&self, document: u64) -> Loss {
        let usual = (3.0 + 0.2 * noise(1, document)) * (1.0 - self.quality);
        let value = usual + 3.0 * self.noise * noise(2 + self.luck, document);
        Loss::new((value * 1e4).round() / 1e4).unwrap()
    }

    pub(crate) fn losses(&self, documents: std::ops::Range<u64>) -> Vec<Loss> {
        documents.map(|document| self.loss(document)).collect()
    }

    pub(crate) fn model(&self, losses: Vec<Loss>) -> Model {
        Model {
            uid: Uid(self.uid),
            hotkey: account(self.uid),
            coldkey: Some(account(self.coldkey)),
            commit_block: Block(self.block),
            commit_block_hash: BlockHash([3; 32]),
            since: None,
            repo: None,
            revision: None,
            file_root: None,
            tensor_root: Some(self.root()),
            card: None,
            finding: Finding::Evaluated(losses),
        }
    }

    pub(crate) fn entrant(&self) -> Entrant {
        let Model { uid, hotkey, .. } = self.model(Vec::new());
        let (coldkey, root) = (account(self.coldkey), self.root());
        Entrant { uid, hotkey, coldkey, seniority: self.model(Vec::new()).seniority(), root }
    }
}

/// Rules with few bets, which decide within some 25 documents.
pub(crate) fn few() -> DuelRules {
    DuelRules {
        alpha: 1e-4,
        n_bets: 4,
        n_documents_pilot: 5,
        n_documents_min: 25,
        n_documents_max: 200,
        ..DuelRules::default()
    }
}

/// A competition of one validator, from round to round.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) competition: Competition,
    pub(crate) reign: Reign,
    pub(crate) last: Option<Record>,
    /// Slot that the chain pays most, and how long it takes to pay.
    pub(crate) paid: Option<Uid>,
    pub(crate) settling_blocks: u64,
    /// Whose repos are closed.
    pub(crate) hidden: Vec<Player>,
    /// Whom our own trouble keeps away.
    pub(crate) skipped: Vec<Player>,
    average: MovingAverage,
    /// Losses that the last round measured, by uid.
    n_measured: BTreeMap<u16, usize>,
}

impl Scene {
    pub(crate) fn new(n_documents: usize, rules: DuelRules) -> Self {
        let toml = include_str!("../../../../testdata/scoring/competition.toml");
        let mut competition = Competition::from_toml(toml).unwrap();
        competition.text.packing = Packing::PerDocument;
        competition.evaluation.sequences_per_batch = 1;
        competition.evaluation.n_batches = n_documents;
        competition.scoring.rule = Rule::Duel;
        competition.scoring.loss = LossKind::CrossEntropy;
        competition.scoring.temperature = 0.2;
        competition.scoring.duel = Some(rules);
        competition.check().unwrap();
        Self {
            competition,
            reign: Reign::default(),
            last: None,
            paid: None,
            settling_blocks: u64::MAX,
            hidden: Vec::new(),
            skipped: Vec::new(),
            average: MovingAverage::default(),
            n_measured: BTreeMap::new(),
        }
    }

    /// Which documents the next round draws, where every round has others.
    pub(crate) fn next_documents(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.round.number) * 1_000
    }

    /// The next round on documents from this one on, without what ties it to rules and records.
    pub(crate) fn next_round(&self, first: u64) -> Round {
        let number_of_round = self.last.as_ref().map_or(0, |last| last.round.number) + 1;
        let documents = first..first + self.competition.evaluation.n_batches as u64;
        let document = |n: u64| DocumentDigest {
            id: String::new(),
            sha256: number(n),
            n_bytes: 400,
            n_tokens: 100,
        };
        Round {
            competition: self.competition.name.clone(),
            competition_digest: number(4),
            number: number_of_round,
            previous: None,
            block: Block(1_000 + 10 * number_of_round),
            block_hash: BlockHash([1; 32]),
            validator: account(0),
            genesis: BlockHash([2; 32]),
            netuid: NetUid(7),
            engine: "written".to_owned(),
            tokenizer: number(1),
            dataset: number(2),
            documents: documents.map(document).collect(),
            optimum: None,
            batches: number(3),
        }
    }

    /// Decides and follows a round on all losses; nothing is checked.
    pub(crate) fn play(&mut self, players: &[Player]) -> &Record {
        let first = self.next_documents();
        let round = self.next_round(first);
        let documents = first..first + round.documents.len() as u64;
        let models = players.iter().map(|p| p.model(p.losses(documents.clone()))).collect();
        self.record(round, models)
    }

    /// The same with models that are no players.
    pub(crate) fn play_with(
        &mut self,
        players: &[Player],
        change: impl FnOnce(&mut Vec<Model>),
    ) -> &Record {
        let first = self.next_documents();
        let mut round = self.next_round(first);
        round.competition_digest = self.competition.digest();
        let documents = first..first + round.documents.len() as u64;
        let models = players.iter().map(|p| p.model(p.losses(documents.clone())));
        let mut models: Vec<Model> = models.collect();
        change(&mut models);
        self.record(round, models)
    }

    pub(crate) fn record(&mut self, round: Round, mut models: Vec<Model>) -> &Record {
        let hides = |player: &Player| Model {
            tensor_root: None,
            finding: Finding::Disqualified(ReasonCode::NotPublished),
            ..player.model(Vec::new())
        };
        models.extend(self.hidden.iter().map(hides));
        let skipped = |player: &Player| Skipped { uid: Uid(player.uid), hotkey: player.hotkey() };
        let setting = Setting {
            before: &self.reign,
            paid: self.paid,
            settling_blocks: self.settling_blocks,
            skipped: self.skipped.iter().map(skipped).collect(),
        };
        let (competition, average) = (&self.competition, &mut self.average);
        let record = Record::of_duels(round, competition, models, setting, average).unwrap();
        self.reign.follow(&record);
        self.last.insert(record)
    }

    /// A round that measures what is wanted, checked in every way there is.
    pub(crate) fn round(&mut self, players: &[Player]) -> Record {
        self.round_on(players, self.next_documents())
    }

    /// The same on documents from this one on.
    pub(crate) fn round_on(&mut self, players: &[Player], first: u64) -> Record {
        let (mut round, before) = (self.next_round(first), self.clone());
        round.competition_digest = self.competition.digest();
        round.previous = self.last.as_ref().map(Record::digest);
        let known = self.measure(players, &round, first);
        let models = players
            .iter()
            .map(|player| player.model(known.get(&player.root()).cloned().unwrap_or_default()));
        let record = self.record(round, models.collect()).clone();
        let json = record.to_json();
        let read = Record::from_json(&json).unwrap();
        assert_eq!(read, record);
        assert_eq!(verify_duels(&read, &self.competition, &before.reign), Ok(()));
        assert_eq!(verify_chain(&read, before.last.as_ref(), &self.competition), Ok(()));
        let mut follower = before.reign;
        follower.follow(&read);
        assert_eq!(follower, self.reign, "a reader of the record knows the same");
        let stored = serde_json::to_string(&follower).unwrap();
        assert_eq!(serde_json::from_str::<Reign>(&stored).unwrap(), follower);
        record
    }

    /// What is wanted for a round, no more; with all losses it is decided alike.
    fn measure(
        &mut self,
        players: &[Player],
        round: &Round,
        first: u64,
    ) -> BTreeMap<Digest, Vec<Loss>> {
        let entrants: Vec<Entrant> = players.iter().map(Player::entrant).collect();
        let documents: Vec<Digest> = round.documents.iter().map(|d| d.sha256).collect();
        let hides = |player: &Player| {
            let Entrant { uid, hotkey, coldkey, .. } = player.entrant();
            Hidden { uid, hotkey, coldkey, root: None }
        };
        let hidden: Vec<Hidden> = self.hidden.iter().map(hides).collect();
        let skipped: Vec<AccountId> = self.skipped.iter().map(Player::hotkey).collect();
        let decide = |known: &BTreeMap<Digest, Vec<Loss>>, progress: &mut Progress| {
            let losses: BTreeMap<Digest, &[Loss]> =
                known.iter().map(|(root, losses)| (*root, losses.as_slice())).collect();
            let bout = Bout {
                block: round.block,
                rules: round.competition_digest,
                paid: self.paid,
                settling_blocks: overtaking_blocks(&self.competition, self.settling_blocks),
                entrants: &entrants,
                hidden: &hidden,
                skipped: &skipped,
                documents: &documents,
                losses: &losses,
            };
            self.reign.round_from(progress, &self.competition.scoring, &bout)
        };
        let of = |root: Digest| players.iter().find(|player| player.root() == root).unwrap();
        let mut known: BTreeMap<Digest, Vec<Loss>> = BTreeMap::new();
        let mut progress = Progress::default();
        let decided: Decided = loop {
            match decide(&known, &mut progress) {
                Ok(decided) => break decided,
                Err(Missing::Champion(hotkey)) => panic!("{hotkey} is skipped"),
                Err(Missing::Losses(Wanted { root, n_documents })) => {
                    let n_known = known.get(&root).map_or(0, Vec::len);
                    assert!(n_known < n_documents && n_documents <= documents.len());
                    known.insert(root, of(root).losses(first..first + n_documents as u64));
                }
            }
        };
        let all = first..first + documents.len() as u64;
        let full = players.iter().map(|player| (player.root(), player.losses(all.clone())));
        let whole = decide(&full.collect(), &mut Progress::default());
        assert_eq!(whole, Ok(decided), "what is not wanted, and was asked before, changes nothing");
        let n_measured = known.iter().map(|(root, losses)| (of(*root).uid, losses.len()));
        self.n_measured = n_measured.collect();
        known
    }

    fn n_measured(&self, uid: u16) -> usize {
        self.n_measured.get(&uid).copied().unwrap_or(0)
    }
}

pub(crate) fn fight(record: &Record, uid: u16) -> Option<&Fight> {
    record.models.iter().find(|judged| judged.model.uid == Uid(uid))?.fight.as_ref()
}

pub(crate) fn n_losses(record: &Record, uid: u16) -> usize {
    let judged = record.models.iter().find(|judged| judged.model.uid == Uid(uid)).unwrap();
    match &judged.model.finding {
        Finding::Evaluated(losses) => losses.len(),
        Finding::Disqualified(_) => panic!("{judged:?}"),
    }
}

pub(crate) fn merit(record: &Record, uid: u16) -> (Merit, f64) {
    let judged = record.models.iter().find(|judged| judged.model.uid == Uid(uid)).unwrap();
    assert!(judged.verdict.present);
    (judged.verdict.merit, judged.verdict.weight)
}

#[test]
fn several_rounds_have_the_evidence_of_one_long_round_to_the_bit() {
    // Just better than epsilon: open for long.
    let players = [player(1, 0.0), player(2, 0.006)];
    let mut short = Scene::new(70, DuelRules::default());
    short.round_on(&players[..1], 0);
    short.round_on(&players, 1_000);
    let last = short.round_on(&players, 1_070);
    // The reference is measured on all documents of the first round: as many for both.
    let mut long = Scene::new(70, DuelRules::default());
    long.round_on(&players[..1], 0);
    long.competition.evaluation.n_batches = 140;
    let mut reign = serde_json::to_value(&long.reign).unwrap();
    reign["champion"]["rules"] = serde_json::to_value(long.competition.digest()).unwrap();
    long.reign = serde_json::from_value(reign).unwrap();
    let whole = long.round_on(&players, 1_000);
    let (parts, whole) = (fight(&last, 2).unwrap(), fight(&whole, 2).unwrap());
    assert_eq!((parts.verdict, parts.evidence.n_documents()), (None, 140));
    assert_eq!(serde_json::to_string(parts).unwrap(), serde_json::to_string(whole).unwrap());
    // A document that comes again is no evidence: the round brings nothing but that it came.
    let again = short.round_on(&players, 1_070);
    let evidence = &fight(&again, 2).unwrap().evidence;
    assert_eq!((evidence.n_documents(), evidence.n_repeated()), (140, 70));
    assert_eq!(
        (evidence.e_crown(), evidence.mean()),
        (parts.evidence.e_crown(), parts.evidence.mean())
    );
    assert_eq!(n_losses(&again, 2), 70);
}

#[test]
fn a_far_worse_challenger_costs_fifteen_documents_and_is_not_asked_again() {
    let mut scene = Scene::new(100, DuelRules::default());
    let players = [player(1, 0.0), player(2, -0.1)];
    scene.round(&players);
    let record = scene.round(&players);
    assert_eq!((scene.n_measured(1), scene.n_measured(2)), (15, 15));
    let of = fight(&record, 2).unwrap();
    assert_eq!(of.verdict, Some(Verdict::Rejected));
    let n_used = of.evidence.n_documents() as usize;
    assert!(n_used <= 15 && n_used.is_multiple_of(5), "{n_used}");
    assert_eq!((n_losses(&record, 1), n_losses(&record, 2)), (n_used, n_used));
    assert!(!scene.reign.wants(&players[1].root()));
    let later = scene.round(&players);
    assert!(scene.n_measured.is_empty(), "nobody is measured for a duel that is decided");
    assert_eq!(fight(&later, 2), Some(of));
    assert_eq!(merit(&later, 1), (Merit::Counts, 1.0));
    assert_eq!(merit(&later, 2), (Merit::BeatenBy(Uid(1)), 0.0));
}

#[test]
fn one_round_dethrones_once_and_the_predecessor_is_paid_while_it_is_there() {
    let mut scene = Scene::new(100, DuelRules::default());
    let (old, next, best) = (player(1, 0.0), player(2, 0.04), player(3, 0.08));
    scene.round(&[old]);
    let record = scene.round(&[best, next, old]);
    assert_eq!(record.champion, Some(Uid(2)), "the senior of the two, though it is worse");
    assert_eq!(fight(&record, 2).unwrap().verdict, Some(Verdict::Dethroned));
    assert_eq!((fight(&record, 3), n_losses(&record, 3)), (None, 0), "it did not duel");
    assert_eq!(scene.reign.fights().count(), 0, "evidence against the old one is void");
    let champion = *scene.reign.champion().unwrap();
    assert_eq!((champion.since, champion.uid), (record.round.block, Uid(2)));
    assert_eq!(champion.reference, mean(&next.losses(1_000..1_064)));
    assert_eq!(n_losses(&record, 2), 65);
    let shares = softmax(&[1.0, 0.0], 0.2);
    assert_eq!(merit(&record, 2), (Merit::Counts, shares[0]));
    assert_eq!(merit(&record, 1), (Merit::SucceededBy(Uid(2)), shares[1]));
    let predecessor = |player: &Player| {
        let (hotkey, root) = (account(player.uid), player.root());
        Some(Predecessor { hotkey, root })
    };
    assert_eq!(scene.reign.predecessor().copied(), predecessor(&old));

    // The predecessor is gone for a round, and comes back; meanwhile the champion has all.
    let mut without = scene.clone();
    let record = without.round(&[next]);
    assert_eq!(merit(&record, 2), (Merit::Counts, 1.0));
    let record = without.round(&[next, old]);
    assert_eq!(merit(&record, 1), (Merit::SucceededBy(Uid(2)), shares[1]));

    let record = scene.round(&[best, next, old]);
    assert_eq!(record.champion, Some(Uid(3)), "its turn comes a round later");
    assert_eq!(scene.reign.predecessor().copied(), predecessor(&next));
    assert_eq!(merit(&record, 1), (Merit::BeatenBy(Uid(3)), 0.0));
}

#[test]
fn an_empty_throne_is_filled_by_the_line_and_nobody_duels() {
    let mut scene = Scene::new(100, DuelRules::default());
    // The second is better by less than epsilon, the third by more.
    let players = [player(1, 0.0), player(2, 0.003), player(3, 0.01), player(4, 0.012)];
    let record = scene.round(&players);
    assert_eq!(record.champion, Some(Uid(3)));
    for player in &players {
        assert_eq!((n_losses(&record, player.uid), fight(&record, player.uid)), (100, None));
        assert_eq!(scene.n_measured(player.uid), 100);
    }
    let reference = scene.reign.champion().unwrap().reference;
    assert_eq!(reference, mean(&players[2].losses(0..100)));
    assert_eq!(merit(&record, 3), (Merit::Counts, 1.0));
    assert_eq!(merit(&record, 1), (Merit::BeatenBy(Uid(3)), 0.0));
    let nobody = Scene::new(100, DuelRules::default()).round(&[]);
    assert_eq!((nobody.champion, nobody.crown), (None, None));
}

#[test]
fn a_champion_that_leaves_takes_its_duels_along_and_comes_back_as_anybody() {
    let mut scene = Scene::new(100, DuelRules::default());
    let (first, near) = (player(1, 0.0), player(2, 0.006));
    scene.round(&[first]);
    scene.round(&[first, near]);
    assert!(scene.reign.wants(&near.root()));
    let record = scene.round(&[near]);
    assert_eq!((record.champion, scene.reign.predecessor()), (Some(Uid(2)), None));
    assert_eq!((fight(&record, 2), scene.reign.fights().count()), (None, 0));
    assert_eq!(merit(&record, 2), (Merit::Counts, 1.0));
    let record = scene.round(&[first, near]);
    assert_eq!(record.champion, Some(Uid(2)), "the throne is not empty any more");
    assert_eq!(fight(&record, 1).unwrap().began, record.round.block);
    // Another key with the model of the champion is not the champion.
    let mut moved = near.model(near.losses(0..100));
    moved.hotkey = account(9);
    let mut other = scene.clone();
    let round = other.next_round(0);
    other.record(round, vec![moved]);
    let since = other.reign.champion().unwrap().since;
    assert!(since > record.round.block, "it began a reign of its own");
}

#[test]
fn a_champion_in_another_slot_is_the_champion() {
    let mut scene = Scene::new(100, DuelRules::default());
    let (first, near) = (player(1, 0.0), player(2, 0.006));
    scene.round(&[first]);
    let mut round = scene.next_round(5_000);
    round.competition_digest = scene.competition.digest();
    let documents = 5_000..5_100;
    let mut moved = first.model(first.losses(documents.clone()));
    moved.uid = Uid(7);
    let record = scene.record(round, vec![moved, near.model(near.losses(documents))]);
    assert_eq!(record.champion, Some(Uid(7)));
    let champion = scene.reign.champion().unwrap();
    assert_eq!((champion.uid, champion.since), (Uid(7), Block(1_010)));
}
