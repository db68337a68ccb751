//! The pick: which instance gets a new connection. What differs between the hooks is behind [`Hook`].
//!
//! By [`POLICY_RANDOM`] and [`POLICY_STICKY`] it depends on nothing but the 4-tuple and what can serve now, because under
//! SYN cookies the last packet of the handshake is picked for again, and must find the listener that answered the
//! first. What cannot be worked out again (a policy that goes by turns or by load, a listener that was passed over
//! because it was full, or that is full by the time of the last packet) is remembered, but only if that listener
//! answers with a cookie. A flood may push out what is remembered, so while one goes on, every policy picks by hash.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_map_lookup_elem, generated::bpf_ktime_get_ns};
use wocut_common::{
    CounterKey, Counters, Current, FAMILY_V4, Load, MAX_MEMBERS, POLICY_LEAST_BACKLOG, POLICY_LEAST_CONN,
    POLICY_ROUND_ROBIN, POLICY_STICKY, Pending, Picks, Service, ServiceKey, Table, pick,
};

use crate::{
    kernel::{self, Tuple, bytes, cookies},
    maps::{COUNTERS, CURRENT, HASH_KEY, LOADS, PENDING, PICKS, SERVICES, SLOTS},
};

/// What became of offering the connection to one instance: that it has it, or why it did not take it.
pub(crate) mod outcome {
    use wocut_common::Event;

    /// It has it.
    pub(crate) const TAKEN: u32 = 0;
    /// It has no listener for this family.
    pub(crate) const ABSENT: u32 = Event::ABSENT;
    /// Its accept queue is full.
    pub(crate) const FULL: u32 = Event::FULL;
    /// The kernel would not assign its listener.
    pub(crate) const REFUSED: u32 = Event::REFUSED;
}

/// How an offer is made: bits.
pub(crate) mod mode {
    /// Also to an instance whose accept queue is full.
    pub(crate) const EVEN_FULL: u32 = 1;
    /// Take note of a flood.
    pub(crate) const WATCH: u32 = 2;
    /// It is no pick, and not counted.
    pub(crate) const SILENT: u32 = 4;
}

/// For so long a pick is remembered: longer than a handshake takes, and shorter than a client's port rests.
const MEMORY: u64 = 10_000_000_000;
/// For so long a SYN cookie is good (`MAX_SYNCOOKIE_AGE` of the kernel), as a client may send its answer again.
const COOKIE: u64 = 120_000_000_000;
/// For so long after the last sign of it a flood is thought to go on: longer than a handshake takes.
const FLOOD: u64 = 10_000_000_000;
/// Turns that one pick takes when the first was one's that cannot serve, so that these too are shared evenly.
pub(crate) const LATER_TURNS: u32 = 8;
/// Instances that one pick by load compares. With more than these, it compares as many, from a random one on.
const SAMPLE: u32 = 32;

/// Where picks are made.
///
/// Each function is one of its own for the verifier, which so checks it once, and not once in every turn of the loop
/// that calls it. Such functions take the context and numbers, but before Linux 5.12 no pointers.
pub(crate) trait Hook {
    /// What is picked for.
    fn tuple(this: *mut Self) -> Option<Tuple>;
    /// [`hash`] of that.
    fn hash(this: *mut Self, service: u32, table: &Table) -> u64;
    /// Whether this is, or may be, the first packet of a connection.
    fn is_first(this: *mut Self) -> bool;
    /// Whether this is, or may be, the last packet of a handshake, which answers a SYN cookie.
    fn is_answer(this: *mut Self) -> bool;
    /// Offers it to one instance, and counts what became of it: an [`outcome`].
    fn offer(this: *mut Self, service: u32, instance: u32, mode: u32) -> u32;
    /// [`offer_rest`].
    fn offer_rest(this: *mut Self, service: u32, hash: u64, first: u32, full: u32) -> u32;
    /// [`offer_turn`].
    fn offer_turn(this: *mut Self, service: u32, first: u32) -> u64;
    /// [`offer_all`].
    fn offer_all(this: *mut Self, service: u32, hash: u64) -> u64;
    /// [`offer_block`].
    fn offer_block(this: *mut Self, service: u32, hash: u64, from: u32) -> u64;
    /// [`offer_other`].
    fn offer_other(this: *mut Self, service: u32, hash: u64, n: u32) -> u64;
    /// [`preferred`].
    fn preferred(this: *mut Self, service: u32, hash: u64) -> u64;
    /// [`burden`].
    fn burden(this: *mut Self, service: u32, member: u32) -> u64;
    /// Tells that an instance did not take a connection, with what became of the offer.
    fn failed(this: *mut Self, instance: u32, outcome: u32);
    /// How busy a listening instance is: its accept queue in the upper half, its SYN queue in the lower. [`NOBODY`] if
    /// it cannot take the connection.
    fn busy(this: *mut Self, instance: u32) -> u64;
}

/// Answer of [`Hook::busy`] and [`Hook::burden`].
pub(crate) const NOBODY: u64 = u64::MAX;

/// Gives what came in to an instance of the service. Returns whether one has it.
#[inline(always)]
pub(crate) fn pick<H: Hook>(hook: *mut H, service: u32, table: &Table) -> bool {
    // An ACK is no pick: its SYN was one, or it is the last of a connection that has ended.
    if H::is_first(hook) {
        count_pick(service, |picks| picks.made += 1);
    }
    let hash = H::hash(hook, service, table);
    let mut preferred = 0;
    if goes_by_state(table) || CURRENT.get(service).is_some_and(|now| now.remembered != 0) {
        preferred = H::preferred(hook, service, hash);
    }
    let mut first = preferred as u32;
    // Only the listener that sent a cookie knows it. If it has no room now, it has when the client sends it again.
    let mut is_answer = preferred & RECALLED != 0;
    if first == 0 {
        first = member_at(table, pick::slot(hash, 0));
        is_answer = !H::is_first(hook);
    }
    if first != 0 {
        let mode = mode::WATCH | if is_answer { mode::EVEN_FULL } else { 0 };
        let full = match H::offer(hook, service, first, mode) {
            outcome::TAKEN => return true,
            outcome::FULL => first,
            _ => 0,
        };
        if H::offer_rest(hook, service, hash, first, full) == outcome::TAKEN {
            return true;
        }
    }
    if H::is_first(hook) {
        count_pick(service, |picks| picks.unserved += 1);
    }
    false
}

/// Offers it to those whose turns are next, to the hash's choices but `first`, then to every other member, and then to
/// the first that was full.
#[inline(always)]
pub(crate) fn offer_rest<H: Hook>(hook: *mut H, service: u32, hash: u64, first: u32, full: u32) -> u32 {
    let Some(table) = table(service) else { return outcome::ABSENT };
    let mode = mode::WATCH;
    let mut last_resort = full;
    if table.policy == POLICY_ROUND_ROBIN && !is_flooded(service) && H::is_first(hook) {
        for _ in 0..LATER_TURNS {
            match H::offer_turn(hook, service, first) {
                BLOCK_TAKEN => return outcome::TAKEN,
                0 => {}
                full => last_resort = full as u32,
            }
        }
    }
    let choices = choices(table, hash);
    for n in 0..choices.len() {
        let member = choices[n];
        if member >= table.len || choices[..n].contains(&member) {
            continue;
        }
        let instance = table.members[member as usize % MAX_MEMBERS];
        if instance == first {
            continue;
        }
        match H::offer(hook, service, instance, mode) {
            outcome::TAKEN => return outcome::TAKEN,
            outcome::FULL if last_resort == 0 => last_resort = instance,
            _ => {}
        }
    }
    match H::offer_all(hook, service, hash) {
        BLOCK_TAKEN => return outcome::TAKEN,
        full if last_resort == 0 => last_resort = full as u32,
        _ => {}
    }
    if last_resort == 0 {
        return outcome::ABSENT;
    }
    H::offer(hook, service, last_resort, mode | mode::EVEN_FULL)
}

/// Takes the next turn and offers it to who has it, unless that is `first`, who had it before. Answers as [`offer_other`]
/// does.
#[inline(always)]
pub(crate) fn offer_turn<H: Hook>(hook: *mut H, service: u32, first: u32) -> u64 {
    let Some(table) = table(service) else { return 0 };
    let instance = next_turn(service, table);
    if instance == 0 || instance == first {
        return 0;
    }
    match H::offer(hook, service, instance, mode::WATCH) {
        outcome::TAKEN => BLOCK_TAKEN,
        outcome::FULL => u64::from(instance),
        _ => 0,
    }
}

/// Members that one call of [`offer_block`] walks over.
const BLOCK: u32 = 16;
/// Answer of [`offer_block`]: the connection is taken. Not an instance id.
const BLOCK_TAKEN: u64 = 1 << 32;
/// Answer of [`offer_block`]: the table ends before this block.
const NO_BLOCK: u64 = 1 << 33;

/// Offers the connection to every member that is not one of the hash's choices, which had it before.
///
/// Returns [`BLOCK_TAKEN`], an instance whose accept queue is full, or 0.
#[inline(always)]
pub(crate) fn offer_all<H: Hook>(hook: *mut H, service: u32, hash: u64) -> u64 {
    let mut full = 0;
    for block in 0..MAX_MEMBERS as u32 / BLOCK {
        match H::offer_block(hook, service, hash, block * BLOCK) {
            BLOCK_TAKEN => return BLOCK_TAKEN,
            NO_BLOCK => break,
            0 => {}
            instance => full = instance,
        }
    }
    full
}

/// Offers the connection to the members `from` places and more after the hash's first choice.
///
/// Returns [`BLOCK_TAKEN`], [`NO_BLOCK`], an instance whose accept queue is full, or 0. Whoever walks on goes
/// by these answers: the table may have been swapped for a longer one since the first choice.
#[inline(always)]
pub(crate) fn offer_block<H: Hook>(hook: *mut H, service: u32, hash: u64, from: u32) -> u64 {
    let mut full = 0;
    for n in 0..BLOCK {
        match H::offer_other(hook, service, hash, from + n) {
            BLOCK_TAKEN => return BLOCK_TAKEN,
            NO_BLOCK => return if n == 0 { NO_BLOCK } else { full },
            0 => {}
            instance => full = instance,
        }
    }
    full
}

/// Offers the connection to the member `n` places after the hash's first choice, unless it is one of the choices,
/// which had it before. Answers as [`offer_block`] does.
#[inline(always)]
pub(crate) fn offer_other<H: Hook>(hook: *mut H, service: u32, hash: u64, n: u32) -> u64 {
    let Some(table) = table(service) else { return 0 };
    let choices = choices(table, hash);
    let member = (choices[0] + n) & table.mask;
    if n > table.mask {
        return NO_BLOCK;
    }
    if member >= table.len || choices.contains(&member) {
        return 0;
    }
    let instance = table.members[member as usize % MAX_MEMBERS];
    match H::offer(hook, service, instance, 0) {
        outcome::TAKEN => BLOCK_TAKEN,
        outcome::FULL => u64::from(instance),
        _ => 0,
    }
}

/// In the answer of [`preferred`]: it is what was remembered.
const RECALLED: u64 = 1 << 32;

/// The instance to offer it to before the hash has its say; 0 if there is none.
#[inline(always)]
pub(crate) fn preferred<H: Hook>(hook: *mut H, service: u32, hash: u64) -> u64 {
    let Some(table) = table(service) else { return 0 };
    let Some(remembered) = CURRENT.get(service).map(|now| now.remembered) else { return 0 };
    let now = now();
    if now - remembered < MEMORY
        && H::is_answer(hook)
        && let Some(instance) = recall(H::tuple(hook), now)
    {
        return RECALLED | u64::from(instance);
    }
    if is_flooded(service) || !goes_by_state(table) || !H::is_first(hook) {
        return 0;
    }
    if table.policy == POLICY_ROUND_ROBIN {
        return next_turn(service, table).into();
    }
    least(hook, service, table, hash).into()
}

/// Whether picks are made by hash for now.
#[inline(always)]
pub(crate) fn is_flooded(service: u32) -> bool {
    CURRENT.get(service).is_some_and(|current| now() - current.flooded < FLOOD)
}

/// Whether a client may still answer a SYN cookie of a listener, or this kernel does not tell.
#[inline(always)]
pub(crate) fn awaits_answers(service: u32) -> bool {
    !kernel::tells_of_cookies()
        || CURRENT
            .get(service)
            .is_some_and(|current| current.remembered != 0 && now() - current.remembered < COOKIE)
}

/// Takes the next turn. Gives the instance that has it; 0 if there is none.
#[inline(always)]
fn next_turn(service: u32, table: &Table) -> u32 {
    let Some(current) = CURRENT.get_ptr_mut(service) else { return 0 };
    // SAFETY: entries of an array stay. Two CPUs may see the same sum, and then one turn is taken twice and another
    // skipped.
    let taken = unsafe {
        kernel::add(&raw mut (*current).taken, 1);
        (&raw const (*current).taken).read_volatile()
    };
    let turns = if table.turns == 0 { 1 } else { table.turns };
    member_at(table, (taken % u64::from(turns)) as u16)
}

/// The instance whose slot this is; 0 without members.
#[inline(always)]
pub(crate) fn member_at(table: &Table, slot: u16) -> u32 {
    let member = u32::from(table.slots[slot as usize]);
    if member < table.len { table.members[member as usize % MAX_MEMBERS] } else { 0 }
}

/// Of the members that listen and have room, the one with the least to do; 0 if there is none.
#[inline(always)]
pub(crate) fn least<H: Hook>(hook: *mut H, service: u32, table: &Table, hash: u64) -> u32 {
    let first = choices(table, hash)[0];
    let (mut best, mut least) = (0, NOBODY);
    for n in 0..SAMPLE {
        if n >= table.len {
            break;
        }
        let past = first + n;
        let member = if past >= table.len { past - table.len } else { past };
        let burden = H::burden(hook, service, member);
        if burden < least {
            (best, least) = (table.members[member as usize % MAX_MEMBERS], burden);
        }
    }
    best
}

/// How much a member has to do for its weight: by [`POLICY_LEAST_BACKLOG`] its accept queue comes before its
/// connections. [`NOBODY`] if it cannot take one more.
#[inline(always)]
pub(crate) fn burden<H: Hook>(hook: *mut H, service: u32, member: u32) -> u64 {
    let Some(table) = table(service) else { return NOBODY };
    let member = member as usize % MAX_MEMBERS;
    let (instance, weight) = (table.members[member], u64::from(table.weights[member]));
    let busy = H::busy(hook, instance);
    if busy == NOBODY || weight == 0 {
        return NOBODY;
    }
    let queue = if table.policy == POLICY_LEAST_BACKLOG { busy >> 32 & 0xffff } else { 0 };
    // A handshake that is under way is a connection soon; and of two instances with none, the heavier goes first.
    let open = (open(instance) + (busy & 0xffff_ffff) + 1) & 0xff_ffff;
    // Exact to a 256th of a connection, which is the smallest share that a weight gives.
    (((queue << 8) / weight) << 32) | ((open << 8) / weight)
}

/// Connections that an instance has.
#[inline(always)]
fn open(instance: u32) -> u64 {
    LOADS.get(Load::place(instance)).map_or(0, |load| load.open)
}

/// Whether the same packet may lead elsewhere the next time.
#[inline(always)]
pub(crate) fn goes_by_state(table: &Table) -> bool {
    matches!(table.policy, POLICY_ROUND_ROBIN | POLICY_LEAST_CONN | POLICY_LEAST_BACKLOG)
}

/// What was picked for the first packet of this connection, if that was remembered.
#[inline(always)]
pub(crate) fn recall(tuple: Option<Tuple>, now: u64) -> Option<u32> {
    // SAFETY: the value is copied out at once.
    let pending: Pending = unsafe { PENDING.get(tuple?.flow_key()) }.copied()?;
    (now - pending.made < MEMORY).then_some(pending.instance)
}

/// Remembers what was offered under a mode, where the listener that took it will be asked for again.
#[inline(always)]
pub(crate) fn remember<H: Hook>(hook: *mut H, service: u32, instance: u32, mode: u32, cookies: u32) {
    if cookies == cookies::NO {
        return;
    }
    let Some(current) = CURRENT.get_ptr_mut(service) else { return };
    let now = now();
    if mode & mode::WATCH != 0 && cookies == cookies::NO_ROOM {
        // SAFETY: entries of an array stay.
        unsafe { (*current).flooded = now };
    }
    let Some(tuple) = H::tuple(hook) else { return };
    let pending = Pending { made: now, instance, reserved: 0 };
    if PENDING.insert(tuple.flow_key(), pending, 0).is_ok() {
        // SAFETY: as above.
        unsafe { (*current).remembered = now };
    }
}

/// The only key of a map in `slots`.
static ZERO: u32 = 0;

/// The slot table that a service goes by now.
#[inline(always)]
pub(crate) fn table(service: u32) -> Option<&'static Table> {
    // One key for both, because the stacks of a whole call chain have to share 512 bytes.
    let mut key = service;
    let value = |map: *mut c_void, key: *const u32| {
        // SAFETY: the helper reads one key.
        unsafe { bpf_map_lookup_elem(map, key.cast()) }
    };
    let current: *const Current =
        value(core::ptr::from_ref(&CURRENT).cast_mut().cast(), &raw const key).cast();
    if current.is_null() {
        return None;
    }
    // SAFETY: entries of an array stay; a process may write a new number at any time, in one store.
    key = unsafe { (&raw const (*current).table).read_volatile() }.index();
    let table = value(core::ptr::from_ref(&SLOTS).cast_mut().cast(), &raw const key);
    if table.is_null() {
        return None;
    }
    // SAFETY: a map of this type, which lives as long as this run of the program.
    unsafe { value(table, &raw const ZERO).cast::<Table>().as_ref() }
}

/// Nanoseconds since boot.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: it only reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

/// What is listed for the tuple's local end.
#[inline(always)]
pub(crate) fn service_of(tuple: &Tuple) -> Option<Service> {
    service_at(tuple.service_key(), || bytes(tuple.local))
}

/// What is listed by an address, else for every address. Most services are on every address, and that row says whether
/// there is another one to look for.
#[expect(clippy::needless_borrows_for_generic_args, reason = "a copy of the key would be on the stack too")]
#[inline(always)]
pub(crate) fn service_at(mut key: ServiceKey, address: impl FnOnce() -> [u8; 16]) -> Option<Service> {
    let words: *mut u32 = (&raw mut key.address).cast();
    for n in 0..4 {
        // SAFETY: within the address, which is aligned for it. Not volatile, it would be a call for every byte.
        unsafe { words.add(n).write_volatile(0) };
    }
    // SAFETY: a row that is removed meanwhile stays readable until the program ends.
    let anywhere = unsafe { SERVICES.get(&key) };
    if let Some(row) = anywhere
        && row.by_address == 0
    {
        return Some(*row);
    }
    key.address = address();
    // SAFETY: as above.
    unsafe { SERVICES.get(&key) }.or(anywhere).copied()
}

/// The keyed hash of what a pick goes by.
#[inline(always)]
pub(crate) fn hash(table: &Table, tuple: &Tuple) -> u64 {
    // SAFETY: it is a static. The compiler must not take the value that it was built with.
    let key = unsafe { (&raw const HASH_KEY).read_volatile() };
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let (remote, local) = (tuple.remote, tuple.local);
    if table.policy == POLICY_STICKY {
        return if tuple.family == FAMILY_V4 {
            pick::hash(key, &[pair(0, remote[0] & table.prefix_v4)])
        } else {
            let masked: [u32; 4] = core::array::from_fn(|n| remote[n] & table.prefix_v6[n]);
            pick::hash(key, &[pair(masked[0], masked[1]), pair(masked[2], masked[3])])
        };
    }
    let ports = u64::from(tuple.remote_port) << 16 | u64::from(tuple.local_port);
    if tuple.family == FAMILY_V4 {
        return pick::hash(key, &[pair(remote[0], local[0]), ports]);
    }
    pick::hash(
        key,
        &[
            pair(remote[0], remote[1]),
            pair(remote[2], remote[3]),
            pair(local[0], local[1]),
            pair(local[2], local[3]),
            ports,
        ],
    )
}

/// The members that a hash chooses, in order.
#[inline(always)]
pub(crate) fn choices(table: &Table, hash: u64) -> [u32; pick::CHOICES] {
    core::array::from_fn(|n| u32::from(table.slots[pick::slot(hash, n) as usize]))
}

/// Counts what became of an offer, and tells of one that was not taken.
#[inline(always)]
pub(crate) fn count_offer<H: Hook>(hook: *mut H, service: u32, instance: u32, outcome: u32) {
    count(service, instance, |row| {
        if outcome == outcome::TAKEN {
            row.picked += 1;
        } else {
            row.failovers += 1;
        }
    });
    if outcome != outcome::TAKEN {
        H::failed(hook, instance, outcome);
    }
}

/// Counts in the row of a service.
#[inline(always)]
fn count_pick(service: u32, change: impl FnOnce(&mut Picks)) {
    if let Some(picks) = PICKS.get_ptr_mut(service) {
        // SAFETY: as in `count`.
        change(unsafe { &mut *picks });
    }
}

/// Counts in the row of an instance.
#[inline(always)]
pub(crate) fn count(service: u32, instance: u32, change: impl FnOnce(&mut Counters)) {
    if let Some(row) = COUNTERS.get_ptr_mut(CounterKey { service, instance }) {
        // SAFETY: each CPU has its own copy, and lookups on one CPU, in its softirq, do not interrupt each other.
        change(unsafe { &mut *row });
    }
}

/// Makes the functions of [`Hook`] that are the same for every hook, each a function of its own for the verifier.
macro_rules! walk {
    ($context:ty: $rest:ident $turn:ident $block:ident $other:ident $preferred:ident $burden:ident $failed:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $rest(ctx: *mut $context, service: u32, hash: u64, first: u32, full: u32) -> u32 {
            $crate::pick::offer_rest(ctx, service, hash, first, full)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $turn(ctx: *mut $context, service: u32, first: u32) -> u64 {
            $crate::pick::offer_turn(ctx, service, first)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $block(ctx: *mut $context, service: u32, hash: u64, from: u32) -> u64 {
            $crate::pick::offer_block(ctx, service, hash, from)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $other(ctx: *mut $context, service: u32, hash: u64, n: u32) -> u64 {
            $crate::pick::offer_other(ctx, service, hash, n)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $preferred(ctx: *mut $context, service: u32, hash: u64) -> u64 {
            $crate::pick::preferred(ctx, service, hash)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $burden(ctx: *mut $context, service: u32, member: u32) -> u64 {
            $crate::pick::burden(ctx, service, member)
        }

        /// A function of its own has to return a number.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $failed(ctx: *mut $context, instance: u32, outcome: u32) -> u32 {
            // The verifier wants it from whoever calls, and the compiler passes nothing that is not used.
            core::hint::black_box(ctx);
            $crate::event::failed(instance, outcome);
            0
        }
    };
}
pub(crate) use walk;
