package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// report is everything that a run has to say.
type report struct {
	Conditions conditions `json:"conditions"`
	Figures    []*figure  `json:"figures"`
	Checks     []check    `json:"checks"`
	Seconds    float64    `json:"seconds"`
}

// figure is one line of the table. Each number is the median of its rounds, but for Errors, which is their sum.
type figure struct {
	Part      string     `json:"part"`
	Name      string     `json:"name"`
	Size      int        `json:"size"` // transfers in a transaction, or connections
	PerSecond float64    `json:"per_second"`
	Rounds    []float64  `json:"rounds_per_second"`
	Beside    string     `json:"beside,omitempty"` // what Ratio compares with, at the same size
	Ratio     float64    `json:"ratio,omitempty"`  // the median of the rounds' ratios
	P50       float64    `json:"p50_ms"`           // of a transaction, or a request
	P99       float64    `json:"p99_ms"`
	Errors    int        `json:"errors"`
	Lanes     []laneTime `json:"lanes,omitempty"` // of kontor serve
	CPU       cpuFigures `json:"cpu"`
	Aim       string     `json:"aim,omitempty"`

	short, besideShort string // names in a remark
	sized              string // what Size counts, where the part does not say
}

// cpuFigures is microseconds of processor time for each transfer, request or payment.
type cpuFigures struct {
	Kontor   float64 `json:"server_us"` // kontor serve, or the peer in its place
	Postgres float64 `json:"postgres_us"`
	Client   float64 `json:"client_us"` // of figures without a server: the code itself
	Provider float64 `json:"provider_us"`
	Others   float64 `json:"others_percent"` // of the machine, used by nobody of these
}

// check is something that must be so after a part: nothing lost, nothing twice, the books right.
type check struct {
	Part  string `json:"part"`
	Name  string `json:"name"`
	Value string `json:"value"`
	Aim   string `json:"aim,omitempty"`
	OK    bool   `json:"ok"` // of a check without a right or wrong: true
}

func (r *report) print(out io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	}
	r.printConditions(out)
	r.printFigures(out)
	r.printLanes(out)
	r.printChecks(out)
	_, err := fmt.Fprintf(out, "\nThe run took %.0f s.\n", r.Seconds)
	return err
}

func (r *report) printConditions(out io.Writer) {
	c := r.Conditions
	_, _ = fmt.Fprintf(out, "\nKontor bench, %s, commit %s\n", c.Date, c.Commit)
	_, _ = fmt.Fprintf(out, "  %s, %d cores, load average %s at the start, %s, %s\n", c.CPU, c.Cores, c.Load, c.System, c.Go)
	_, _ = fmt.Fprintf(out, "  data directory on %s, 8 kB durable in %s\n", c.Filesystem, c.Sync)
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
		settings = append(settings, name+" "+c.Settings[name])
	}
	_, _ = fmt.Fprintf(out, "  PostgreSQL %s: %s; %d segments of its log made before\n", c.PostgreSQL, strings.Join(settings, ", "), segments)
	if c.ServeArgs != "" || c.Binary != "" {
		_, _ = fmt.Fprintf(out, "  %s serve %s\n", cmp.Or(c.Binary, "kontor"), c.ServeArgs)
	}
}

// sizes says what Size counts.
func (f *figure) sizes() string {
	switch {
	case f.sized != "":
		return f.sized
	case f.Part == partRaw || f.Part == partLedger:
		return "N="
	}
	return "c="
}

func (r *report) printFigures(out io.Writer) {
	if len(r.Figures) == 0 {
		return
	}
	_, _ = fmt.Fprint(out, "\n  N: transfers or tasks in one transaction, one writer; c: connections or callers; w: workers. Milliseconds are of a transaction, a\n"+
		"  request or a call, or from a task's enqueue to its work. CPU in microseconds for each transfer, request, payment or task; others: share of the machine that none of these has used.\n\n")
	rows := [][]string{{
		"", "", "per second", "ratio", "p50 ms", "p99 ms", "errors", "server", "postgres", "client", "provider", "others", "beside; aim",
	}}
	last := ""
	for _, f := range r.Figures {
		if group := fmt.Sprint(f.Part == partRaw || f.Part == partLedger, f.Part == partPayments, f.sizes(), f.Size); group != last {
			rows = append(rows, nil)
			last = group
		}
		rows = append(rows, f.row())
	}
	printTable(out, rows)
}

func (f *figure) row() []string {
	return []string{
		f.Name, f.sizes() + strconv.Itoa(f.Size), grouped(f.PerSecond), percent(f.Ratio), fmt.Sprintf("%.2f", f.P50), fmt.Sprintf("%.2f", f.P99),
		strconv.Itoa(f.Errors), unlessZero(f.CPU.Kontor), unlessZero(f.CPU.Postgres),
		unlessZero(f.CPU.Client), unlessZero(f.CPU.Provider), fmt.Sprintf("%.0f %%", f.CPU.Others), f.remark(),
	}
}

// printTable aligns the first and the last column to the left, the others to the right, and leaves out empty ones.
func printTable(out io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for i, row := range rows {
		for column, cell := range row {
			if i > 0 && cell != "" || i > 0 && column == 0 {
				widths[column] = max(widths[column], utf8.RuneCountInString(cell), utf8.RuneCountInString(rows[0][column]))
			}
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for column, cell := range row {
			switch space := strings.Repeat(" ", max(widths[column]-utf8.RuneCountInString(cell), 0)); {
			case widths[column] == 0:
			case column == 0 || column == len(row)-1:
				line.WriteString("  " + cell + space)
			default:
				line.WriteString("  " + space + cell)
			}
		}
		_, _ = fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

// remark says what the ratio compares with, and what the figure ought to be.
func (f *figure) remark() string {
	var parts []string
	if f.Beside != "" {
		parts = append(parts, "of "+f.besideShort)
	}
	if f.Aim != "" {
		parts = append(parts, f.Aim)
	}
	return strings.Join(parts, "; ")
}

// printLanes tells how the commands of kontor serve were gathered.
func (r *report) printLanes(out io.Writer) {
	rows := [][]string{{"", "", "commands a batch", "wait ms", "commit ms", "lane"}}
	for _, f := range r.Figures {
		for _, l := range f.Lanes {
			rows = append(rows, []string{
				f.Name, f.sizes() + strconv.Itoa(f.Size), fmt.Sprintf("%.1f", l.Batch), fmt.Sprintf("%.2f", l.Wait), fmt.Sprintf("%.2f", l.Commit), l.Lane,
			})
		}
	}
	if len(rows) > 1 {
		_, _ = fmt.Fprint(out, "\n  The lanes of kontor serve, in means: how many commands a batch, how long a command waited for its batch, how long a batch took.\n\n")
		printTable(out, rows)
	}
}

func (r *report) printChecks(out io.Writer) {
	if len(r.Checks) == 0 {
		return
	}
	_, _ = fmt.Fprintln(out)
	rows := [][]string{{"", "", "", "aim"}}
	for _, c := range r.Checks {
		name := c.Part + ": " + c.Name
		if !c.OK {
			name += " (NOT SO)"
		}
		rows = append(rows, []string{name, c.Value, "", c.Aim})
	}
	printTable(out, rows)
}

func percent(ratio float64) string {
	if ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*ratio)
}

func unlessZero(value float64) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", value)
}

// grouped writes a number with commas between its thousands.
func grouped(value float64) string {
	digits := fmt.Sprintf("%.0f", value)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
