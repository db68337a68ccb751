//! `wocut stats [NAME]`: is the distribution what it should be?

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use super::{
    Context,
    printer::{Align, Printer, Table},
};
use crate::{
    model::Name,
    status::{InstanceStatus, ServiceStatus, Status},
};

/// Compare measured shares with expected ones, since the shares last changed
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut stats web")]
pub(super) struct Stats {
    /// One service
    name: Option<Name>,
}

/// The picks of a service since its shares last changed.
#[derive(Debug, PartialEq, Serialize)]
struct Distribution {
    name: Name,
    picks: u64,
    /// Of a chi-square test that the picks follow the shares; `null` with too few picks to tell.
    chi_square: Option<f64>,
    degrees_of_freedom: Option<usize>,
    /// Chance of picks at least this uneven if all is well.
    p_value: Option<f64>,
    instances: Vec<Share>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Share {
    name: Name,
    picked: u64,
    expected: f64,
    measured: Option<f64>,
}

impl Stats {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        show(context.printer, &context.status(self.name.as_ref())?)
    }
}

pub(super) fn show(printer: &Printer, status: &Status) -> anyhow::Result<()> {
    let services: Vec<Distribution> = status.services.iter().map(distribution).collect::<Result<_, _>>()?;
    if printer.json() {
        return printer.object(&serde_json::json!({ "schema": 1, "services": services }));
    }
    if services.is_empty() {
        return printer.line("nothing is attached");
    }
    for service in &services {
        let verdict = match (service.chi_square, service.degrees_of_freedom, service.p_value) {
            (Some(chi), Some(df), Some(p)) => {
                format!("chi-square {chi:.2}, {df} degrees of freedom, p {p:.4}")
            }
            _ => "too few picks for a chi-square test".into(),
        };
        printer.line(&format!("{}  picks {}  {verdict}", service.name, service.picks))?;
        let mut table = Table::new(&[
            ("  INSTANCE", Align::Left),
            ("PICKED", Align::Right),
            ("EXPECTED", Align::Right),
            ("MEASURED", Align::Right),
        ]);
        for instance in &service.instances {
            table.row([
                format!("  {}", instance.name),
                instance.picked.to_string(),
                format!("{:.2}%", instance.expected * 100.0),
                instance.measured.map_or_else(|| "-".into(), |share| format!("{:.2}%", share * 100.0)),
            ]);
        }
        printer.table(&table)?;
    }
    Ok(())
}

fn distribution(service: &ServiceStatus) -> anyhow::Result<Distribution> {
    let picked = |i: &InstanceStatus| i.picked.unwrap_or(0).saturating_sub(i.picked_before);
    let picks: u64 = service.instances.iter().map(picked).sum();
    let instances = service.instances.iter().map(|instance| Share {
        name: instance.name.clone(),
        picked: picked(instance),
        expected: instance.share,
        measured: (picks > 0).then(|| as_f64(picked(instance)) / as_f64(picks)),
    });
    let instances: Vec<Share> = instances.collect();
    let test = chi_square(&instances, picks)?;
    Ok(Distribution {
        name: service.name.clone(),
        picks,
        chi_square: test.map(|(chi, ..)| chi),
        degrees_of_freedom: test.map(|(_, df, _)| df),
        p_value: test.map(|(.., p)| p),
        instances,
    })
}

/// Statistic, degrees of freedom and p-value, where at least five picks are expected of every instance.
fn chi_square(shares: &[Share], picks: u64) -> anyhow::Result<Option<(f64, usize, f64)>> {
    let expected = |share: &Share| share.expected * as_f64(picks);
    let in_play: Vec<&Share> = shares.iter().filter(|share| share.expected > 0.0).collect();
    if in_play.len() < 2 || in_play.iter().any(|share| expected(share) < 5.0) {
        return Ok(None);
    }
    let deviation = |share: &&Share| (as_f64(share.picked) - expected(share)).powi(2) / expected(share);
    let chi: f64 = in_play.iter().map(deviation).sum();
    let df = in_play.len() - 1;
    let p = ChiSquared::new(as_f64(df as u64)).context("make a chi-square distribution")?.sf(chi);
    Ok(Some((chi, df, p)))
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are compared by their leading digits")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Share, chi_square};

    fn shares(picked: &[u64]) -> Vec<Share> {
        let expected = 1.0 / u8::try_from(picked.len()).map_or(1.0, f64::from);
        let share = |&picked| Share { name: "a".parse().unwrap(), picked, expected, measured: None };
        picked.iter().map(share).collect()
    }

    /// The values are those of a printed chi-square table.
    #[test]
    fn p_value_matches_the_table() {
        let (chi, df, p) = chi_square(&shares(&[60, 40]), 100).unwrap().unwrap();
        assert!((chi - 4.0).abs() < 1e-9 && df == 1 && (p - 0.0455).abs() < 1e-4);
    }

    #[test]
    fn even_picks_are_no_surprise_and_few_tell_nothing() {
        assert!(chi_square(&shares(&[50, 50]), 100).unwrap().unwrap().2 > 0.99);
        assert_eq!(chi_square(&shares(&[4, 5]), 9).unwrap(), None);
        assert_eq!(chi_square(&shares(&[9]), 9).unwrap(), None);
    }
}
