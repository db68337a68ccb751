//! From a body to a definition of a service: text becomes types here.

use std::str::FromStr;

use super::{
    BackendShape, Seconds, ServiceShape, check, place,
    place::{Place, protocol, shown},
    refusal::Refusal,
};
use crate::model::{
    Admin, Check, Definition, EngineChoice, InstanceSpec, Listen, Member, Name, Options, ParseError, Policy,
    Weight,
};

/// A service that nothing is said of yet: what a PUT begins with.
pub(super) fn blank(name: Name) -> Definition {
    Definition {
        name,
        listen: Vec::new(),
        instances: Vec::new(),
        // As shuttle has it; who wants another policy says so.
        options: Options { policy: Policy::RoundRobin, ..Options::default() },
        engine: EngineChoice::Auto,
        description: None,
        check: None,
    }
}

/// The definition with what a body says; what it does not say stays.
pub(super) fn edited(base: Definition, body: &ServiceShape) -> Result<Definition, Refusal> {
    refuse_what_no_kernel_does(body)?;
    if body.name.as_ref().is_some_and(|name| *name != base.name.as_str()) {
        let what = format!("name: the path names the service `{}`", base.name);
        return Err(Refusal::unprocessable(what));
    }
    let listen = listen(body, base.listen)?;
    let check = check::of(body, base.check)?;
    let instances = match &body.backends {
        Some(backends) => backends
            .iter()
            .enumerate()
            .map(|(i, body)| {
                member(None, body, &listen, check.as_ref())
                    .map_err(|refusal| refusal.of(&format!("backends[{i}]")))
            })
            .collect::<Result<_, _>>()?,
        None => base.instances,
    };
    Ok(Definition {
        options: options(body, base.options)?,
        engine: word("engine", body.engine.as_ref())?.unwrap_or(base.engine),
        description: match body.description.as_deref() {
            Some("") => None,
            _ => word("description", body.description.as_ref())?.or(base.description),
        },
        name: base.name,
        listen,
        instances,
        check,
    })
}

/// Puts a backend in, in the place of the one of its name.
pub(super) fn with_backend(
    mut base: Definition,
    name: &Name,
    body: &BackendShape,
    keep: bool,
) -> Result<Definition, Refusal> {
    let at = base.instances.iter().position(|member| member.spec.name == *name);
    let present = at.map(|at| base.instances[at].clone());
    let check = check::with(body, base.check);
    let mut member = match present.as_ref().filter(|_| keep) {
        Some(present) => merged(present, body, &base.listen, check.as_ref())?,
        None => member(Some(name), body, &base.listen, check.as_ref())?,
    };
    if member.spec.name != *name {
        return Err(Refusal::unprocessable(format!("name: the path names the backend `{name}`")));
    }
    // What the operator wants of it stays, unless the body says otherwise.
    member.admin = member.admin.or(present.and_then(|present| present.admin));
    base.check = check;
    match at {
        Some(at) => base.instances[at] = member,
        None => base.instances.push(member),
    }
    Ok(base)
}

/// Where a service takes connections. `listen` goes before `address`, which then has to be one of them.
fn listen(body: &ServiceShape, base: Vec<Listen>) -> Result<Vec<Listen>, Refusal> {
    let network = body.network.as_deref().map(|text| protocol("network", text)).transpose()?;
    let address = body.address.as_deref().filter(|address| !address.is_empty());
    let place = address.map(|text| place::read("address", text)).transpose()?;
    let Some(texts) = &body.listen else {
        return match (place, base.first()) {
            (Some((address, port)), _) => {
                Ok(vec![Listen { address, port, protocol: network.unwrap_or(protocol("network", "tcp")?) }])
            }
            (None, Some(first)) if network.is_none_or(|network| network == first.protocol) => Ok(base),
            (None, Some(_)) => Err(Refusal::unprocessable("network: it goes with an `address`")),
            (None, None) => {
                Err(Refusal::unprocessable("a service wants an `address`, as in `\"0.0.0.0:80\"`"))
            }
        };
    };
    let listen: Vec<Listen> = texts.iter().map(|text| parse("listen", text)).collect::<Result<_, _>>()?;
    if listen.is_empty() {
        return Err(Refusal::unprocessable("listen: it has at least one, as in `[\"80/tcp\"]`"));
    }
    let is_place = |listen: &Listen| place.is_none_or(|place| place == place_of(*listen));
    let is_said =
        |listen: &&Listen| is_place(listen) && network.is_none_or(|network| network == listen.protocol);
    if listen.iter().find(is_said).is_none() {
        let what = "`listen` and shuttle's fields (`address`, `network`) do not agree";
        return Err(Refusal::unprocessable(what).hint("leave out one or the other"));
    }
    Ok(listen)
}

fn place_of(listen: Listen) -> Place {
    (listen.address.filter(|address| !address.is_unspecified()), listen.port)
}

fn options(body: &ServiceShape, base: Options) -> Result<Options, Refusal> {
    let balance = match body.balance.as_deref() {
        None | Some("") => None,
        Some("RR") => Some(Policy::RoundRobin),
        Some("LC") => Some(Policy::LeastConn),
        Some(other) => {
            let what = format!("balance: `{}` is neither `RR` nor `LC`", shown(other));
            return Err(
                Refusal::unprocessable(what).hint("`policy` has more: `random`, `least-backlog`, `sticky`")
            );
        }
    };
    let policy: Option<Policy> = word("policy", body.policy.as_ref())?;
    if let (Some(balance), Some(policy)) = (balance, policy)
        && balance != policy
    {
        let what = format!("`balance` is {balance} and `policy` is {policy}");
        return Err(Refusal::unprocessable(what).hint("leave out one or the other"));
    }
    Ok(Options {
        policy: policy.or(balance).unwrap_or(base.policy),
        sticky_prefix: word("sticky_prefix", body.sticky_prefix.as_ref())?.unwrap_or(base.sticky_prefix),
        on_empty: word("on_empty", body.on_empty.as_ref())?.unwrap_or(base.on_empty),
        guard: body.guard.unwrap_or(base.guard),
        hook: word("hook", body.hook.as_ref())?.unwrap_or(base.hook),
        allow_degraded: body.allow_degraded.unwrap_or(base.allow_degraded),
        slow_start: match body.slow_start {
            Some(none) if none.is_zero() => None,
            Some(time) => Some(time.period().map_err(|error| Refusal::field("slow_start", &error))?),
            None => base.slow_start,
        },
    })
}

/// A backend by itself.
fn member(
    name: Option<&Name>,
    body: &BackendShape,
    listen: &[Listen],
    check: Option<&Check>,
) -> Result<Member, Refusal> {
    let Some(address) = &body.address else {
        return Err(Refusal::unprocessable("address: a backend wants one, as in `\"127.0.0.1:8001\"`"));
    };
    let (address, port) = place::read("address", address)?;
    let given = body.name.as_deref().filter(|name| !name.is_empty());
    let name = match (given, name) {
        (Some(text), _) => parse("name", text)?,
        (None, Some(name)) => name.clone(),
        (None, None) => parse("name", &port.to_string())?,
    };
    let weight = Weight::default();
    let spec = InstanceSpec { name, address, port, weight };
    merged(&spec.into(), body, listen, check)
}

/// A backend with what a body says; what it does not say stays.
fn merged(
    present: &Member,
    body: &BackendShape,
    listen: &[Listen],
    check: Option<&Check>,
) -> Result<Member, Refusal> {
    let mut member = present.clone();
    let spec = &mut member.spec;
    if let Some(text) = &body.address {
        (spec.address, spec.port) = place::read("address", text)?;
    }
    if let Some(name) = body.name.as_deref().filter(|name| !name.is_empty()) {
        spec.name = parse("name", name)?;
    }
    if let Some(weight) = body.weight {
        spec.weight = Weight::try_from(weight).map_err(|error| Refusal::field("weight", &error))?;
    }
    if let Some(network) = body.network.as_deref().map(|text| protocol("network", text)).transpose()?
        && !listen.iter().any(|listen| listen.protocol == network)
    {
        return Err(Refusal::unprocessable(format!("network: the service does not listen on {network}")));
    }
    member.check = check::of_backend(body, member.check, &member.spec, check)?;
    member.backup = body.backup.unwrap_or(member.backup);
    if let Some(text) = &body.admin {
        member.admin = Some(admin(text)?);
    }
    Ok(member)
}

fn admin(text: &str) -> Result<Admin, Refusal> {
    let all = [Admin::Ready, Admin::Drain, Admin::Maint];
    let found = all.into_iter().find(|admin| admin.to_string() == text);
    let what = || format!("admin: `{}` is not one of `ready` `drain` `maint`", shown(text));
    found.ok_or_else(|| Refusal::unprocessable(what()))
}

/// Shuttle was in the data path, and wocut is not: what that takes is refused, and its absence is not.
fn refuse_what_no_kernel_does(body: &ServiceShape) -> Result<(), Refusal> {
    let idle = "the kernel ends no idle connections: the daemon behind the service does";
    let http = "connections are handed over unread, so nothing of HTTP can be done to them";
    let is_set = |seconds: Option<Seconds>| seconds.is_some_and(|seconds| !seconds.is_zero());
    let maint = "`POST /{service}/{backend}/_maint` takes a backend out of use";
    let asked = [
        (is_set(body.client_timeout), "client_timeout", idle),
        (is_set(body.server_timeout), "server_timeout", idle),
        (body.https_redirect == Some(true), "https-redirect", http),
        (body.virtual_hosts.as_ref().is_some_and(|hosts| !hosts.is_empty()), "virtual_hosts", http),
        (body.error_pages.as_ref().is_some_and(|pages| !pages.is_empty()), "error_pages", http),
        (body.maintenance_mode == Some(true), "maintenance_mode", maint),
    ];
    match asked.into_iter().find(|(is_asked, ..)| *is_asked) {
        Some((_, field, why)) => Err(Refusal::unprocessable(format!("{field}: {why}"))),
        None => Ok(()),
    }
}

fn parse<T: FromStr<Err = ParseError>>(field: &str, text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error| Refusal::field(field, &error))
}

fn word<T: FromStr<Err = ParseError>>(field: &str, text: Option<&String>) -> Result<Option<T>, Refusal> {
    text.map(|text| parse(field, text)).transpose()
}
