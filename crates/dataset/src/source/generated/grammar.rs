//! The grammar of generated documents: stories, facts, sums and talks about one hero.
//!
//! What a sentence says is chosen by its first words; what follows from the world (where somebody
//! lives, what a thing costs) or from the document (who was met, what was found) is never chosen
//! again. So a model gains first from letters and phrases, then from what the document said
//! before, and longest from knowing the world.

use super::world::{Person, Place, World};
use super::writer::{Choice, END, Writer};

/// A document may end once it has this many bytes.
pub(super) const SIZE_BYTES_MIN: usize = 500;
/// A document that has this many bytes gets no further paragraph; a paragraph has less than 500.
pub(super) const SIZE_BYTES_FULL: usize = 1000;

const FRUITS: [&str; 8] = ["apples", "pears", "plums", "nuts", "eggs", "figs", "cakes", "beans"];
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const REMARKS: [&str; 10] = [
    "What a fine day",
    "I have seen you before",
    "Do not be afraid",
    "It will rain soon",
    "Come and sit with me",
    "I am very hungry",
    "The night was long",
    "You look tired",
    "Please sing with me",
    "Nobody comes here any more",
];
const SHELTERS: [&str; 5] =
    ["under a bridge", "in an old barn", "behind a wall", "in a cave", "beneath a big oak"];

const WEATHERS: [&str; 8] = ["cold", "warm", "windy", "foggy", "bright", "dark", "still", "wet"];
const DEEDS: [&str; 10] =
    ["lost", "found", "sold", "bought", "mended", "painted", "broke", "hid", "made", "gave away"];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What the first words of a document make likely: weights of the kinds of paragraphs.
const TOPICS: [(&str, Topic); 5] = [
    ("The story of ", Topic { story: 8, facts: 2, talk: 1, sums: 1, news: 2 }),
    ("All about ", Topic { story: 1, facts: 8, talk: 2, sums: 1, news: 2 }),
    ("A talk with ", Topic { story: 2, facts: 2, talk: 8, sums: 1, news: 1 }),
    ("The sums of ", Topic { story: 1, facts: 1, talk: 1, sums: 8, news: 2 }),
    ("News for ", Topic { story: 1, facts: 1, talk: 1, sums: 1, news: 8 }),
];

/// Weights of the kinds of paragraphs.
#[derive(Clone, Copy)]
struct Topic {
    story: u64,
    facts: u64,
    talk: u64,
    sums: u64,
    news: u64,
}

/// One document being written about its hero.
pub(super) struct Telling<'a, 'w> {
    pub(super) world: &'a World,
    pub(super) writer: &'a mut Writer<'w>,
    pub(super) hero: &'a Person,
}

/// What has happened so far in a story.
#[derive(Default)]
struct Events {
    n_left: usize,
    place_told: bool,
    meal_told: bool,
    friend: Option<String>,
    beast: Option<usize>,
    beast_fed: bool,
    thing: Option<usize>,
}

/// Writes a whole document.
pub(super) fn document(world: &World, writer: &mut Writer) {
    let titles = TOPICS.map(|(title, _)| title);
    let (_, mut topic) = TOPICS[writer.choose_evenly(&titles)];
    let hero = person(world, writer);
    let mut telling = Telling { world, writer, hero };
    telling.writer.put(&["\n"]);
    loop {
        telling.paragraph(&mut topic);
        let size_bytes = telling.writer.text.len();
        if size_bytes >= SIZE_BYTES_FULL {
            return;
        }
        let end = u64::from(size_bytes >= SIZE_BYTES_MIN);
        if telling.writer.choose(&[(3, "\n"), (end, END)]) == 1 {
            return;
        }
    }
}

/// Chooses a person; some are more frequent, so that their facts are learnt long before others.
fn person<'a>(world: &'a World, writer: &mut Writer) -> &'a Person {
    let weight = |i| 1000 / (i as u64 + 8);
    let people = world.people.iter().enumerate();
    let options: Vec<Choice> = people.map(|(i, p)| (weight(i), p.name.as_str())).collect();
    &world.people[writer.choose(&options)]
}

/// Chooses a place, some more often than others, but never the one at index `but`.
fn place<'a>(world: &'a World, writer: &mut Writer, but: Option<usize>) -> &'a Place {
    let weight = |i| if Some(i) == but { 0 } else { 100 / (i as u64 + 4) };
    let places = world.places.iter().enumerate();
    let options: Vec<Choice> = places.map(|(i, p)| (weight(i), p.name.as_str())).collect();
    &world.places[writer.choose(&options)]
}

impl Telling<'_, '_> {
    /// The pronouns of the hero, as at the start of "She said she saw her in her house".
    fn pronouns(&self) -> [&'static str; 4] {
        if self.hero.is_female { ["She", "she", "her", "her"] } else { ["He", "he", "him", "his"] }
    }

    /// One paragraph; facts and talk come once in a document, lest they say the same again.
    fn paragraph(&mut self, topic: &mut Topic) {
        let kind = self.writer.choose(&[
            (topic.story, "One morning "),
            (topic.story, "Last winter "),
            (topic.facts * 2, "Everybody knows "),
            (topic.talk * 2, "A stranger asked "),
            (topic.sums, "At the market "),
            (topic.sums, "In school "),
            (topic.news * 2, "People say "),
        ]);
        if kind < 6 {
            self.writer.put(&[&self.hero.name]);
        }
        match kind {
            0 | 1 => self.story(7),
            2 => {
                topic.facts = 0;
                self.facts();
            }
            3 => {
                topic.talk = 0;
                self.talk();
            }
            4 => self.market(),
            5 => self.school(4),
            _ => self.news(3),
        }
    }

    /// A way to a place, what happened there, and the way home.
    pub(super) fn story(&mut self, n_events_max: usize) {
        self.writer.choose_evenly(&[" walked to ", " ran to ", " rode to "]);
        let place = place(self.world, self.writer, Some(self.hero.home));
        self.writer.put(&[". The day was "]);
        self.writer.choose_evenly(&WEATHERS);
        self.writer.put(&["."]);
        let mut events = Events { n_left: n_events_max, ..Events::default() };
        while self.event(place, &mut events) {
            events.n_left -= 1;
        }
    }

    /// Tells one event; false when it was the way home.
    fn event(&mut self, place: &Place, events: &mut Events) -> bool {
        let [capital_she, she, her, _] = self.pronouns();
        let gave = [" ", capital_she, " gave the "].concat();
        let met = events.friend.is_some();
        // When nothing more may happen, only the way home is left.
        let go_on = u64::from(events.n_left > 0);
        let if_so = |so: bool, weight: u64| if so { weight * go_on } else { 0 };
        let event = self.writer.choose(&[
            (if_so(!events.place_told, 1), " The town lies "),
            (if_so(!met, 2), " There "),
            (if_so(events.thing.is_none(), 1), " Under a tree "),
            (if_so(met, 2), " \""),
            (if_so(met && events.thing.is_some(), 2), &gave),
            (if_so(events.beast.is_some() && !events.beast_fed, 2), " It ate "),
            (if_so(!events.meal_told, 1), " At noon "),
            (if_so(true, 1), " When it rained "),
            (if events.n_left > 5 { 0 } else { 2 }, " In the evening "),
        ]);
        let hero = self.hero;
        match (event, events.friend.as_deref(), events.thing) {
            (0, ..) => {
                events.place_told = true;
                self.writer.put(&[place.land, " and has a ", place.gate_color, " gate."]);
            }
            (1, ..) => self.meeting(events),
            (2, ..) => events.thing = Some(self.finding()),
            (3, Some(friend), _) => {
                self.writer.choose_evenly(&REMARKS);
                self.writer.put(&[",\" said ", friend, " to ", &hero.name, "."]);
            }
            (4, Some(friend), Some(thing)) => {
                self.writer.put(&[self.world.objects[thing].name, " to ", friend, "."]);
                events.thing = None;
            }
            (5, ..) => {
                events.beast_fed = true;
                let food = events.beast.map_or("", |beast| self.world.animals[beast].food);
                self.writer.put(&["all the ", food, " that ", &hero.name, " had."]);
            }
            (6, ..) => {
                events.meal_told = true;
                self.writer.put(&[she, " ate ", hero.food, ", as always."]);
            }
            (7, friend, _) => {
                self.writer.put(&[she, " hid "]);
                self.writer.choose_evenly(&SHELTERS);
                match friend {
                    Some(friend) => self.writer.put(&[" with ", friend, "."]),
                    None => self.writer.put(&[", and nobody was with ", her, "."]),
                }
            }
            _ => {
                let home = &self.world.places[hero.home].name;
                self.writer.put(&[&hero.name, " went home to ", home, "."]);
                return false;
            }
        }
        true
    }

    fn meeting(&mut self, events: &mut Events) {
        let world = self.world;
        let [_, she, _, her] = self.pronouns();
        let friend = &world.people[self.hero.friend].name;
        self.writer.put(&[she, " met "]);
        if self.writer.choose(&[(1, friend), (2, "a ")]) == 0 {
            self.writer.put(&[", ", her, " best friend."]);
            events.friend = Some(friend.clone());
            return;
        }
        let names: Vec<&str> = world.animals.iter().map(|animal| animal.name).collect();
        let beast = self.writer.choose_evenly(&names);
        let animal = &world.animals[beast];
        self.writer.put(&[". It was ", animal.color, ", and it ", animal.habit, "."]);
        events.friend = Some(["the ", animal.name].concat());
        events.beast = Some(beast);
    }

    fn finding(&mut self) -> usize {
        let [_, she, ..] = self.pronouns();
        self.writer.put(&[she, " found a "]);
        let thing = self.thing();
        self.writer.put(&[" of ", self.world.objects[thing].material, "."]);
        thing
    }

    fn thing(&mut self) -> usize {
        let names: Vec<&str> = self.world.objects.iter().map(|object| object.name).collect();
        self.writer.choose_evenly(&names)
    }

    /// Three facts about the hero, then one about a friend, a pet or a home.
    pub(super) fn facts(&mut self) {
        let [capital_she, ..] = self.pronouns();
        let mut untold = [1; 6];
        self.writer.put(&[" "]);
        self.fact(&mut untold);
        for _ in 1..3 {
            self.writer.put(&[" ", capital_she, " "]);
            self.fact(&mut untold);
        }
        let (world, hero) = (self.world, self.hero);
        let friend = &world.people[hero.friend];
        match self.writer.choose_evenly(&[" The friend ", " The house ", " The pet "]) {
            0 => {
                let home = &world.places[friend.home].name;
                self.writer.put(&["is ", &friend.name, ", the ", friend.trade, " of ", home, "."]);
            }
            1 => {
                let home = &world.places[hero.home];
                self.writer.put(&["stands ", home.land, ", where they sell ", home.goods, "."]);
            }
            _ => {
                let animal = &world.animals[hero.pet];
                self.writer.put(&["is ", animal.color, " and ", animal.habit, "."]);
            }
        }
    }

    /// One fact about the hero that is still `untold`, after the name or the pronoun.
    fn fact(&mut self, untold: &mut [u64; 6]) {
        let verbs = ["lives ", "works ", "likes ", "keeps ", "eats ", "is "];
        let options: Vec<Choice> = std::iter::zip(*untold, verbs).collect();
        let fact = self.writer.choose(&options);
        untold[fact] = 0;
        let (world, hero) = (self.world, self.hero);
        match fact {
            0 => self.writer.put(&["in ", &world.places[hero.home].name, "."]),
            1 => self.writer.put(&["as a ", hero.trade, "."]),
            2 => self.writer.put(&["the color ", hero.color, "."]),
            3 => {
                let kind = world.animals[hero.pet].name;
                self.writer.put(&["a ", kind, " called ", hero.pet_name, "."]);
            }
            4 => self.writer.put(&[hero.food, " every day."]),
            _ => {
                let friend = &world.people[hero.friend].name;
                self.writer.put(&["a good friend of ", friend, "."]);
            }
        }
    }

    /// Prices of things, which the world fixes, and their sum.
    pub(super) fn market(&mut self) {
        self.writer.put(&[" bought a "]);
        let first = &self.world.objects[self.thing()];
        self.writer.put(&[" for ", &first.price.to_string(), " coins and a "]);
        let second = &self.world.objects[self.thing()];
        let (b, sum) = (second.price.to_string(), (first.price + second.price).to_string());
        self.writer.put(&[" for ", &b, " coins, so that was ", &sum, " coins. "]);
        let friend = &self.world.people[self.hero.friend].name;
        self.writer.put(&[friend, " sold "]);
        let a = self.writer.choose_evenly(&DIGITS);
        self.writer.put(&[" "]);
        let fruit = FRUITS[self.writer.choose_evenly(&FRUITS)];
        self.writer.put(&[" in the morning and "]);
        let b = self.writer.choose_evenly(&DIGITS);
        let sum = (a + b).to_string();
        self.writer.put(&[" later: ", &sum, " ", fruit, " in all."]);
    }

    /// What some people did, wherever they live.
    pub(super) fn news(&mut self, n_reports: usize) {
        let world = self.world;
        for n_told in 0..n_reports {
            self.writer.put(&[if n_told == 0 { "that " } else { " And " }]);
            let person = person(world, self.writer);
            let home = &world.places[person.home].name;
            self.writer.put(&[", the ", person.trade, " of ", home, ", "]);
            self.writer.choose_evenly(&DEEDS);
            self.writer.put(&[" a ", person.color, " "]);
            let thing = self.thing();
            self.writer.put(&[" of ", self.world.objects[thing].material, " on "]);
            self.writer.choose_evenly(&DAYS);
            self.writer.put(&["."]);
        }
    }

    /// Bare sums.
    pub(super) fn school(&mut self, n_sums: usize) {
        let [_, she, ..] = self.pronouns();
        self.writer.put(&[" learnt to add, and ", she, " wrote:"]);
        for _ in 0..n_sums {
            self.writer.put(&[" "]);
            let a = self.writer.choose_evenly(&DIGITS);
            self.writer.put(&[" + "]);
            let b = self.writer.choose_evenly(&DIGITS);
            self.writer.put(&[" = ", &(a + b).to_string(), "."]);
        }
    }

    /// Questions to the hero, each answered by a fact.
    pub(super) fn talk(&mut self) {
        let (world, hero) = (self.world, self.hero);
        let home = &world.places[hero.home];
        let pet = &world.animals[hero.pet];
        let friend = &world.people[hero.friend];
        let talk = [
            ("Where do you live?", ["In ", &home.name, ", ", home.land]),
            ("What is your work?", ["I am a ", hero.trade, " in ", &home.name]),
            ("Who is your friend?", [&friend.name, " the ", friend.trade, ""]),
            ("How is your pet called?", [hero.pet_name, ", and it eats ", pet.food, ""]),
            ("What do you eat?", ["I eat ", hero.food, " every day", ""]),
            ("Which color do you like?", ["I like ", hero.color, ", as you know", ""]),
        ];
        let mut unasked = [1; 6];
        self.writer.put(&[":"]);
        for _ in 0..3 {
            self.writer.put(&[" \""]);
            let options: Vec<Choice> = (0..6).map(|i| (unasked[i], talk[i].0)).collect();
            let asked = self.writer.choose(&options);
            unasked[asked] = 0;
            self.writer.put(&["\" \""]);
            self.writer.put(&talk[asked].1);
            self.writer.put(&[".\""]);
        }
    }
}
