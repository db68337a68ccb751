//! Draws a view: a headline, the rows, what is selected, and what the keys do.

use std::net::SocketAddr;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Text},
    widgets::{Cell, Paragraph, Table, TableState},
};

use super::{
    row::{HEADER, Row, WIDTHS, WORDS},
    view::View,
};
use crate::{
    cli::printer,
    model::Name,
    status::{InstanceStatus, ServiceStatus},
};

const KEYS: &str = "j k select  d drain  r ready  s sort  / filter  q quit";
/// From nothing to the most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws a view; `scroll` is where the rows were scrolled to at the last time.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, color: bool, scroll: &mut TableState) {
    let [head, body, detail, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(headline(view), head);
    rows(frame, body, view, color, scroll);
    frame.render_widget(Line::from(selected(view)), detail);
    let foot_line = match (view.is_typing, view.message.as_str()) {
        (true, _) => format!("/{}_", view.filter),
        (false, "") => KEYS.into(),
        (false, message) => message.into(),
    };
    frame.render_widget(Paragraph::new(foot_line), foot);
}

fn headline(view: &View) -> Line<'static> {
    let (services, instances) = view.counts();
    let mut line = format!("wocut  services {services}  instances {instances}  sort {}", view.sort.word());
    if !view.filter.is_empty() {
        line.extend(["  filter ", &view.filter]);
    }
    Line::styled(line, Modifier::BOLD)
}

fn rows(frame: &mut Frame<'_>, area: Rect, view: &View, color: bool, scroll: &mut TableState) {
    let rows = view.rows();
    // Names of instances are indented.
    let names = rows.iter().map(name).map(|name| name.len());
    let longest = names.max().unwrap_or_default().clamp("SERVICE".len(), Name::MAX + 2);
    let taken: usize = longest + WIDTHS.iter().sum::<usize>() + WIDTHS.len() + 1;
    let left = usize::from(area.width).saturating_sub(taken);
    let widths = [longest].into_iter().chain(WIDTHS).map(|width| u16::try_from(width).unwrap_or(u16::MAX));
    let widths: Vec<_> = widths.map(Constraint::Length).chain([Constraint::Fill(1)]).collect();
    let lines = rows.iter().map(|row| {
        let trend = spark(&view.rates.trend(&row.id, left));
        let cells = [Cell::from(name(row))].into_iter().chain(aligned(row.cells()));
        ratatui::widgets::Row::new(cells.chain([Cell::from(trend)])).style(style(row, color))
    });
    let header = HEADER.map(str::to_owned);
    let header = [Cell::from("SERVICE")].into_iter().chain(aligned(header)).chain([Cell::from("TREND")]);
    let table = Table::new(lines, widths)
        .header(ratatui::widgets::Row::new(header).style(Modifier::DIM))
        .row_highlight_style(Modifier::REVERSED);
    scroll.select(view.place(&rows));
    frame.render_stateful_widget(table, area, scroll);
}

fn name(row: &Row) -> String {
    row.id.instance.as_ref().map_or_else(|| row.id.service.to_string(), |name| format!("  {name}"))
}

/// Words to the left, figures to the right.
fn aligned(cells: [String; 8]) -> impl Iterator<Item = Cell<'static>> {
    cells.into_iter().enumerate().map(|(n, cell)| {
        let align = if n < WORDS { Alignment::Left } else { Alignment::Right };
        Cell::from(Text::from(cell).alignment(align))
    })
}

fn style(row: &Row, color: bool) -> Style {
    let whole = if row.id.instance.is_none() { Modifier::BOLD } else { Modifier::empty() };
    let style = Style::new().add_modifier(whole);
    match (color, row.style) {
        (true, printer::Style::Off) => style.fg(Color::Yellow),
        (true, printer::Style::Bad) => style.fg(Color::Red),
        _ => style,
    }
}

/// Rates as bars, the highest of them full.
fn spark(rates: &[f64]) -> String {
    let most = rates.iter().copied().fold(0.0, f64::max);
    let bar = |rate: &f64| {
        let part = if most > 0.0 { rate / most } else { 0.0 };
        // Of equal steps, the last one takes in the most itself.
        let step = (1..BARS.len()).filter(|&step| part * 8.0 > step_size(step)).count();
        BARS[step]
    };
    rates.iter().map(bar).collect()
}

fn step_size(step: usize) -> f64 {
    u8::try_from(step).map_or(f64::MAX, f64::from)
}

/// What of the selected one has no column.
fn selected(view: &View) -> String {
    match view.picked_out() {
        Some((service, None)) => of_service(service),
        Some((service, Some(instance))) => of_instance(service, instance),
        None if view.counts().0 > 0 => "nothing fits the filter".into(),
        None => "nothing is attached".into(),
    }
}

fn of_service(service: &ServiceStatus) -> String {
    let listen: Vec<String> = service.listen.iter().map(ToString::to_string).collect();
    let hook = service.hook.as_ref().map(|hook| format!("/{hook}")).unwrap_or_default();
    let figure = |figure: Option<u64>| figure.map_or_else(|| "-".into(), |figure| figure.to_string());
    format!(
        "{}  {}  engine {}{hook}  policy {}  picks {}  unserved {}",
        service.name,
        listen.join(" "),
        service.engine,
        service.policy,
        figure(service.picks),
        figure(service.unserved)
    )
}

fn of_instance(service: &ServiceStatus, instance: &InstanceStatus) -> String {
    let place = instance.address.map_or_else(
        || instance.port.to_string(),
        |address| SocketAddr::new(address, instance.port).to_string(),
    );
    let refused = instance.refused.as_ref().map(|why| format!("  gets no connections: {why}"));
    let refused = refused.unwrap_or_default();
    format!("{}/{}  {place}  weight {}{refused}", service.name, instance.name, instance.weight)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use insta::assert_snapshot;
    use ratatui::{
        Terminal,
        backend::TestBackend,
        crossterm::event::KeyCode,
        style::{Color, Modifier},
        widgets::TableState,
    };

    use super::{draw, spark};
    use crate::cli::top::{
        fixture::{service, status, web},
        view::View,
    };

    fn drawn(view: &View, width: u16, height: u16, color: bool) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view, color, &mut TableState::new())).unwrap();
        terminal
    }

    fn busy() -> View {
        let mut view = View::new(status(vec![web(), service("api", &[("9001", 0)])]));
        for second in 1..=6 {
            let api = service("api", &[("9001", second * second)]);
            view.look(Duration::from_secs(second), status(vec![web(), api]));
        }
        view
    }

    #[test]
    fn screen_has_services_instances_and_trends() {
        assert_snapshot!(drawn(&busy(), 100, 9, true).backend(), @r#"
        "wocut  services 2  instances 4  sort as in status                                                   "
        "SERVICE ADMIN  HEALTH  LISTENS  SHARE  PICKS/S  ACTIVE  QUEUE FAILOVERS TREND                       "
        "web     -      -       -            -      0.0       7      3         4 ▁▁▁▁▁▁                      "
        "  a     ready  up      yes      75.0%      0.0       5      0         0 ▁▁▁▁▁▁                      "
        "  b     backup unknown yes      25.0%      0.0       2      3         1 ▁▁▁▁▁▁                      "
        "  c     drain  down    no        0.0%      0.0       -      -         3 ▁▁▁▁▁▁                      "
        "api     -      -       -            -     11.0       0      0         0 ▁▃▄▆▇█                      "
        "web  80/tcp  engine ebpf/sk_lookup  policy random  picks 440  unserved 0                            "
        "j k select  d drain  r ready  s sort  / filter  q quit                                              "
        "#);
    }

    #[test]
    fn narrow_screen_keeps_every_figure() {
        let terminal = drawn(&busy(), 80, 6, true);
        let text = terminal.backend().to_string();
        assert!(text.contains("FAILOVERS") && text.contains("75.0%"), "{text}");
    }

    #[test]
    fn short_screen_scrolls_to_what_is_selected() {
        let mut view = busy();
        view.key(KeyCode::End);
        assert_snapshot!(drawn(&view, 80, 6, true).backend(), @r#"
        "wocut  services 2  instances 4  sort as in status                               "
        "SERVICE ADMIN  HEALTH  LISTENS  SHARE  PICKS/S  ACTIVE  QUEUE FAILOVERS TREND   "
        "api     -      -       -            -     11.0       0      0         0 ▁▃▄▆▇█  "
        "  9001  ready  unknown yes      25.0%     11.0       0      0         0 ▁▃▄▆▇█  "
        "api/9001  8001  weight 1                                                        "
        "j k select  d drain  r ready  s sort  / filter  q quit                          "
        "#);
    }

    #[test]
    fn smallest_screens_are_drawn_without_a_panic() {
        for (width, height) in [(1, 1), (0, 0), (5, 2), (300, 1)] {
            drawn(&busy(), width, height, true);
        }
    }

    #[test]
    fn what_is_wrong_is_red_and_only_where_colours_are_wanted() {
        let red = |color: bool| {
            let terminal = drawn(&busy(), 100, 9, color);
            terminal.backend().buffer().content().iter().filter(|cell| cell.fg == Color::Red).count()
        };
        assert_eq!((red(true), red(false)), (100, 0));
    }

    #[test]
    fn selected_row_is_told_without_colour() {
        let terminal = drawn(&busy(), 80, 9, false);
        let buffer = terminal.backend().buffer();
        let marked = |y: u16| buffer[(0, y)].modifier.contains(Modifier::REVERSED);
        assert_eq!((0..9).filter(|&y| marked(y)).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn nothing_attached_is_told() {
        let text = drawn(&View::new(status(Vec::new())), 60, 5, true).backend().to_string();
        assert!(text.contains("nothing is attached"), "{text}");
    }

    #[test]
    fn filter_that_nothing_fits_is_told_as_that() {
        let mut view = busy();
        view.filter = "nobody".into();
        view.look(Duration::from_secs(7), status(vec![web()]));
        let text = drawn(&view, 60, 5, true).backend().to_string();
        assert!(text.contains("nothing fits the filter"), "{text}");
    }

    #[test]
    fn highest_rate_has_the_full_bar() {
        assert_eq!(spark(&[0.0, 1.0, 2.0, 4.0, 8.0]), "▁▁▂▄█");
        assert_eq!(spark(&[0.0, 0.0]), "▁▁");
        assert_eq!(spark(&[]), "");
    }
}
