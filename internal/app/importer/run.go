package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// run is an import under way.
type run struct {
	*Import
	layout  layout
	source  *source
	in      reader
	skipped *skipped // nil: skipped records are not kept
	report  Report
	next    State // how it will stand when the batch is done with
	batch   []Task
	bytes   int
}

// Run imports what is not imported yet. When it stops, for whatever reason, a later Run goes on where it stopped; the error
// of a record that cannot be imported is a *Problem.
func (i *Import) Run(ctx context.Context) (Report, error) {
	r, err := i.open(ctx)
	if err != nil {
		return Report{}, err
	}
	defer r.close()
	r.Progress.Begin("import "+r.report.Name, r.source.size)
	defer r.Progress.End()
	for {
		task, made, err := r.read()
		switch {
		case errors.Is(err, io.EOF):
			r.next.Complete = true
			return r.report, r.send(ctx)
		case err != nil: // what comes before it is sent nevertheless
			return r.report, errors.Join(r.send(ctx), err)
		case made:
			r.batch = append(r.batch, task)
			r.bytes += task.size()
		}
		if len(r.batch) == r.Batch || r.bytes >= batchBytesMax || r.next.Records-r.report.Records >= 10*int64(r.Batch) {
			if err := r.send(ctx); err != nil {
				return r.report, err
			}
		}
		if err := ctx.Err(); err != nil {
			return r.report, err
		}
	}
}

// open finds out where the import stands and goes there.
func (i *Import) open(ctx context.Context) (*run, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	r := &run{Import: i}
	if r.Batch == 0 {
		r.Batch = BatchDefault
	}
	var err error
	if r.layout, err = i.layout(); err != nil {
		return nil, err
	}
	if i.Load != nil {
		if r.report.State, err = i.Load(ctx); err != nil {
			return nil, err
		}
	}
	name := i.Name
	if name == "" {
		name = i.defaultName(r.layout.mark)
	}
	if before := r.report.Name; before != "" && i.Name != "" && before != name {
		return nil, fmt.Errorf("%w: this file's import was begun as %q, not as %q; to import it once more, keep that apart by a --state of its own", ErrImport, before, name)
	} else if before == "" {
		r.report.Name = name
	}
	if r.source, err = openSource(i.Path); err != nil {
		return nil, err
	}
	err = r.resume()
	if err == nil && i.SkipInvalid && i.SkipTo != "" {
		r.skipped, err = openSkipped(i.SkipTo, r.report.SkippedBytes, r.layout.header)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *run) close() {
	r.source.close()
	r.skipped.close()
}

// resume reads over what was imported, and checks that it is what it was.
func (r *run) resume() error {
	start := max(r.report.Offset, r.layout.begin)
	whole, err := r.source.skip(start)
	if err != nil {
		return err
	}
	if r.report.Offset > 0 && (!whole || r.source.sum() != r.report.SHA256) {
		return fmt.Errorf("%w: up to line %d it was imported as %q; import it under another name", ErrChanged, r.report.Line, r.report.Name)
	}
	if r.report.Offset > 0 {
		r.report.ResumedAt = r.source.lines + 1
	}
	r.report.Complete = false // it may have grown
	r.next = r.report.State
	r.source.budget = recordBytesMax
	r.in = r.records(r.source, r.layout, start, r.source.lines)
	return nil
}

// read reads one record and makes a task of it, or leaves it out.
func (r *run) read() (task Task, made bool, err error) {
	record, err := r.in.next()
	if err == nil {
		task, err = r.Template.render(record, r.report.Name+"/"+strconv.FormatInt(record.line, 10))
		task.Import = r.report.Name
	}
	problem, isProblem := errors.AsType[*Problem](err)
	_, isFatal := errors.AsType[*fatal](err)
	switch {
	case errors.Is(err, io.EOF) && !isProblem:
		r.settle(record.end)
		return task, false, io.EOF
	case isFatal, isProblem && !r.SkipInvalid:
		return task, false, problem
	case isProblem:
		r.skipOne(problem, r.source.before(record.end))
	case err != nil:
		return task, false, err
	case r.skipped != nil:
		task.record = bytes.Clone(r.source.before(record.end))
	}
	r.settle(record.end)
	r.next.Records++
	r.report.Read++
	return task, err == nil, nil
}

func (r *run) skipOne(problem *Problem, record []byte) {
	r.next.Skipped++
	r.skipped.add(record)
	if r.Problem != nil {
		r.Problem(problem)
	}
}

// settle counts a record as read, up to its end.
func (r *run) settle(end int64) {
	r.source.settle(end)
	r.next.Offset, r.next.Line = end, r.source.lines
	if r.source.size > 0 {
		r.Progress.Set(r.source.position())
	}
}

// send sends the batch and saves how far the import has come with it.
func (r *run) send(ctx context.Context) error {
	if len(r.batch) > 0 {
		results, err := r.Send(ctx, r.batch)
		if err == nil && len(results) != len(r.batch) {
			err = fmt.Errorf("%d tasks were sent, and %d results came back", len(r.batch), len(results))
		}
		if err != nil {
			return fmt.Errorf("send lines %d to %d: %w", r.batch[0].Line, r.batch[len(r.batch)-1].Line, err)
		}
		if err := r.count(results); err != nil {
			return err
		}
		r.next.Batches++
	}
	r.batch, r.bytes = r.batch[:0], 0
	r.next.SHA256 = r.source.sum()
	var err error
	if r.next.SkippedBytes, err = r.skipped.keep(r.next.SkippedBytes); err != nil {
		return err
	}
	if r.Save != nil && (r.next != r.report.State) {
		if err := r.Save(ctx, r.next); err != nil {
			return err
		}
	}
	r.report.State = r.next
	r.Progress.Note("%d tasks", r.report.Created+r.report.Existed)
	return nil
}

// count counts what became of the batch. A refused task stops the import before the batch: sent again under their keys,
// the tasks that were taken exist already.
func (r *run) count(results []Result) error {
	before := r.next
	for n, result := range results {
		switch {
		case result.Refused != "":
			problem := &Problem{Line: r.batch[n].Line, Cause: fmt.Errorf("the task is refused: %s", result.Refused)}
			if !r.SkipInvalid {
				r.next = before
				return problem
			}
			r.skipOne(problem, r.batch[n].record)
		case result.Existed:
			r.next.Existed++
		default:
			r.next.Created++
		}
	}
	return nil
}
