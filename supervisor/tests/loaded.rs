//! Blocks of shared libraries: the example of the repository, and libraries that are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use chameleon_proto::ids::{ArmorId, ArmorType, BlockId, Epoch};
use chameleon_proto::message::{Change, Envelope, Message, Refusal};
use chameleon_supervisor::armor::{
    Armor, ArmorEntry, ArmorFactory, Block, BlockEntry, BlockFactory, Link, LinkError, Loader,
    Outbox,
};

const TYPE: ArmorType = ArmorType(77);
const OWN: ArmorId = ArmorId::first(TYPE, 1);
const ELSEWHERE: ArmorId = ArmorId::first(ArmorType(9), 4);
const NATIVE: BlockId = BlockId(400);
const LOADED: BlockId = BlockId(10_400);

struct Quiet;

impl Block for Quiet {
    fn process_message(&mut self, _: &Message, _: &mut Outbox) {}
}

static BLOCKS: &[BlockEntry<()>] =
    &[BlockEntry { id: NATIVE, name: "Quiet", build: |()| Box::new(Quiet) }];
static ARMORS: &[ArmorEntry] = &[ArmorEntry { kind: TYPE, name: "test", blocks: &[NATIVE] }];

#[derive(Default)]
struct Kept(Vec<(ArmorId, Message)>);

impl Link for Kept {
    fn carry(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        self.0.push((envelope.destination, envelope.message.clone()));
        Ok(())
    }
}

/// Compiles a library; `source` is a file or, with a line break in it, C itself.
fn compile(directory: &Path, number: u16, source: &str) {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let file = if source.contains('\n') {
        let file = directory.join(format!("{number}.c"));
        fs::write(&file, source).unwrap();
        file
    } else {
        include.join(source)
    };
    let library = directory.join(format!("{number}.so"));
    let done = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I"])
        .args([include.as_os_str(), "-o".as_ref(), library.as_os_str(), file.as_os_str()])
        .status()
        .expect("a C compiler: see tests/setup.sh");
    assert!(done.success());
}

fn armor(directory: &Path, link: &mut Kept) -> Armor<()> {
    let loader = Loader::new(directory.to_owned(), "tens = true".to_owned());
    let blocks = BlockFactory::new(BLOCKS).unwrap().with_loader(loader);
    ArmorFactory::new(ARMORS, blocks).unwrap().build(OWN, Epoch(0), (), link).unwrap()
}

fn tell(armor: &mut Armor<()>, link: &mut Kept, message: Message) -> Vec<(ArmorId, Message)> {
    let envelope = Envelope { source: ELSEWHERE, destination: OWN, epoch: Epoch(0), message };
    armor.deliver(envelope, link).unwrap();
    std::mem::take(&mut link.0)
}

#[test]
fn the_example_takes_the_place_of_a_registered_block_and_gives_it_back() {
    let directory = tempfile::tempdir().unwrap();
    compile(directory.path(), LOADED.0, "alive.c");
    let mut link = Kept::default();
    let mut armor = armor(directory.path(), &mut link);
    let ping = |nonce| Message::Ping { nonce };
    assert_eq!(tell(&mut armor, &mut link, ping(1)), []);
    let change = Change::Replace { old: NATIVE, new: LOADED };
    let done = Message::Composed { change, refusal: None };
    assert_eq!(tell(&mut armor, &mut link, Message::Compose(change)), [(ELSEWHERE, done)]);
    for (nonce, calls) in [(7, 10), (u64::MAX, 20)] {
        let pong = Message::Pong { nonce, calls };
        assert_eq!(tell(&mut armor, &mut link, ping(nonce)), [(ELSEWHERE, pong)]);
    }
    let back = Change::Replace { old: LOADED, new: NATIVE };
    tell(&mut armor, &mut link, Message::Compose(back));
    assert_eq!(tell(&mut armor, &mut link, ping(1)), []);
}

/// A block that says what is no message, and what only passes inside an ARMOR.
const RUDE: &str = r#"
#include <string.h>
#include "chameleon_block.h"
static int state;
static void *make(const char *text, size_t length)
{
	return length == strlen("tens = true") && !memcmp(text, "tens = true", length) ? &state : 0;
}
static void process(void *block, uint16_t kind, const char *json, size_t length,
		    const struct chameleon_calls *calls, struct chameleon_outbox *outbox)
{
	static const char inside[] = "\"Attached\"", nonsense[] = "{\"Pong\":{", yes[] = "\"Ready\"";
	struct chameleon_armor to = calls->source(outbox), own = calls->own(outbox);
	(void)block, (void)json, (void)length;
	if (kind == CHAMELEON_ATTACHED)
		calls->subscribe(outbox, 1);
	if (kind != 1)
		return;
	int refused = calls->reply(outbox, inside, strlen(inside)) + calls->post(outbox, nonsense, strlen(nonsense))
		+ calls->reply(outbox, 0, 3) + calls->subscribe(outbox, 9999);
	to.number += own.number;
	if (refused == -4)
		calls->send(outbox, &to, yes, strlen(yes));
	to.kind = 70000;
	calls->send(outbox, &to, yes, strlen(yes));
}
__attribute__((unused)) static void drop(void *block)
{
	(void)block;
}
const struct chameleon_block *chameleon_block_entry(void)
{
	static const struct chameleon_block block = { CHAMELEON_BLOCK_ABI, "rude", make, process, drop };
	return &block;
}
"#;

#[test]
fn what_a_library_says_wrongly_is_not_said() {
    let directory = tempfile::tempdir().unwrap();
    compile(directory.path(), 10_001, RUDE);
    let mut link = Kept::default();
    let mut armor = armor(directory.path(), &mut link);
    tell(&mut armor, &mut link, Message::Compose(Change::Add { block: BlockId(10_001) }));
    let to = ArmorId { number: ELSEWHERE.number + OWN.number, ..ELSEWHERE };
    assert_eq!(tell(&mut armor, &mut link, Message::Ping { nonce: 0 }), [(to, Message::Ready)]);
}

#[test]
fn libraries_that_will_not_do_are_refused_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    compile(path, 10_001, &RUDE.replace("ABI,", "ABI + 1,"));
    compile(path, 10_002, &RUDE.replace("make, process, drop", "make, process, 0"));
    compile(path, 10_003, &RUDE.replace("tens = true", "twelves = true"));
    compile(path, 10_004, "int nothing;\n");
    compile(path, 10_005, RUDE);
    fs::set_permissions(path.join("10005.so"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(path.join("10006.so"), "no library").unwrap();
    compile(path, 500, "alive.c");
    let mut link = Kept::default();
    let mut armor = armor(path, &mut link);
    for number in [10_001, 10_002, 10_003, 10_004, 10_005, 10_006, 10_007, 500] {
        let block = BlockId(number);
        let change = Change::Replace { old: NATIVE, new: block };
        let refusal = Some(Refusal::Unknown(block));
        let refused = Message::Composed { change, refusal };
        assert_eq!(tell(&mut armor, &mut link, Message::Compose(change)), [(ELSEWHERE, refused)]);
        assert_eq!(armor.blocks().collect::<Vec<_>>(), [NATIVE]);
    }
}
