package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// DryRun writes the first tasks that Run would send, as JSON, and makes tasks of all the rest too, to find what is wrong
// with any. It sends nothing and saves nothing.
func (i *Import) DryRun(ctx context.Context, show int, out io.Writer) (Report, error) {
	dry := *i
	dry.SkipInvalid, dry.SkipTo, dry.Save = true, "", nil
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	dry.Send = func(_ context.Context, batch []Task) ([]Result, error) {
		for _, task := range batch[:min(show, len(batch))] {
			if _, err := fmt.Fprintf(out, "line %d:\n", task.Line); err != nil {
				return nil, err
			}
			if err := encoder.Encode(task); err != nil {
				return nil, err
			}
			show--
		}
		return make([]Result, len(batch)), nil
	}
	report, err := dry.Run(ctx)
	if problem, ok := errors.AsType[*Problem](err); ok && dry.Problem != nil {
		dry.Problem(problem) // nothing can be read behind it
	}
	return report, err
}
