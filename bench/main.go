// Command bench measures Kontor beside its limits and peers: the same work, in the same run, on the same private
// PostgreSQL with fsync on. It prints figures with their conditions and judges none of them: a figure is worth what the
// machine was worth at that moment, so the ones to compare are those that stand side by side.
//
// Rounds of what is compared take turns, and each figure is the median of its rounds: whatever else the machine does
// then falls on all of them alike.
//
// Run it by make bench, or with arguments: make bench ARGS='-only ledger -seconds 1'.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	only         string
	match        string
	seconds      float64
	rounds       int
	tasks        int
	scale        float64
	held         float64
	json         bool
	dir          string
	profileServe string
	profileSelf  string
	serveArgs    string
	kontor       string
}

// The parts of a run that -only chooses from. raw is measured with ledger; by itself it is only the limit.
const (
	partRaw      = "raw"
	partLedger   = "ledger"
	partHTTP     = "http"
	partPayments = "payments"
	partTasks    = "tasks"
	partLimits   = "limits"
	partStrain   = "strain"
)

// defaultSeconds is the length of a round when nobody says.
const defaultSeconds = 3.0

func main() {
	if len(os.Args) > 1 && os.Args[1] == peerVerb {
		exit(runPeer(os.Args[2:]))
	}
	o, err := readOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // so that a second signal ends the process at once
	exit(run(ctx, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func readOptions(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	all := strings.Join([]string{partRaw, partLedger, partHTTP, partPayments, partTasks, partLimits, partStrain}, ",")
	flags.StringVar(&o.only, "only", all, "parts to run, separated by commas")
	flags.StringVar(&o.match, "match", "", "of these parts, only the comparisons whose name holds this text, such as 'burning down'")
	flags.Float64Var(&o.seconds, "seconds", defaultSeconds, "length of one round of one figure")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of each figure; the median counts")
	flags.IntVar(&o.tasks, "tasks", tasksBacklog, "tasks to burn down in one round")
	flags.Float64Var(&o.scale, "scale", 1, "of the parts limits and strain: how many of their tasks there are, 1 for all")
	flags.Float64Var(&o.held, "held", 120, "of the part strain: for how many seconds a transaction is held open; 600 to see it all")
	flags.BoolVar(&o.json, "json", false, "print JSON, for programs")
	flags.StringVar(&o.dir, "dir", filepath.Join("..", "tmp"), "where the database's directory is made; on a disk, and removed afterwards")
	flags.StringVar(&o.kontor, "kontor", "", "binary of kontor to measure; without it, it is built from this tree")
	flags.StringVar(&o.serveArgs, "serve-args", "", "further arguments of kontor serve, such as '--log-level warn'")
	flags.StringVar(&o.profileServe, "cpuprofile-serve", "", "write CPU profiles of kontor serve under load to this file, with the part and the load in its name")
	flags.StringVar(&o.profileSelf, "cpuprofile", "", "write a CPU profile of the bench itself, which holds ledger.Post, to this file")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for part := range strings.SplitSeq(o.only, ",") {
		if !slices.Contains(strings.Split(all, ","), part) {
			return o, fmt.Errorf("-only: there is no part %q; want some of %s", part, all)
		}
	}
	if o.seconds <= 0 || o.rounds <= 0 || o.tasks <= 0 || o.scale <= 0 || o.held <= 0 || flags.NArg() > 0 {
		return o, errors.New("want -seconds, -rounds, -tasks, -scale and -held above 0, and no further arguments")
	}
	return o, nil
}

func (o options) has(part string) bool { return slices.Contains(strings.Split(o.only, ","), part) }

// run measures what was asked for and prints it; also when a part fails, what was measured before.
func run(ctx context.Context, o options) (err error) {
	began := time.Now()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as kontor serve does
	}
	stopProfile, err := profileSelf(o.profileSelf)
	if err != nil {
		return err
	}
	defer stopProfile()
	b, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop(ctx)) }()
	for _, part := range []struct {
		wanted bool
		run    func(context.Context) error
	}{
		{o.has(partRaw) || o.has(partLedger), b.measureLedger},
		{o.has(partHTTP), b.measureHTTP},
		{o.has(partPayments), b.measurePayments},
		{o.has(partTasks), b.measureTasks},
		{o.has(partLimits), b.measureLimits},
		{o.has(partStrain), b.measureStrain},
	} {
		if err == nil && part.wanted {
			err = part.run(ctx)
		}
	}
	b.report.Seconds = time.Since(began).Seconds()
	return errors.Join(err, b.report.print(os.Stdout, o.json))
}
