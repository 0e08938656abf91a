package reencrypt

import (
	"context"
	"math"
	"slices"
)

// Progress is a job as it is shown. Times are Unix milliseconds.
type Progress struct {
	State     State   `json:"state"`
	ID        string  `json:"id"`
	To        string  `json:"to"`
	Table     string  `json:"table,omitempty"`
	Workspace string  `json:"workspace,omitempty"`
	Rate      int     `json:"rate"` // 0: no limit
	Node      string  `json:"node,omitempty"`
	Writer    string  `json:"key_id,omitempty"` // mark of what is written, where all that is sealed has the same
	Pass      int     `json:"pass"`
	Started   int64   `json:"started_at"`
	Ended     int64   `json:"ended_at,omitempty"`
	Percent   float64 `json:"percent"`         // of this pass; for a workspace at least that much
	Speed     float64 `json:"rows_per_second"` // lately
	// SecondsLeft is how long it will take at that speed; absent while nobody knows.
	SecondsLeft *int    `json:"seconds_left,omitempty"`
	Scanned     int     `json:"scanned"`
	Resealed    int     `json:"resealed"`
	Unreadable  int     `json:"unreadable"`
	Retried     int     `json:"retried"`
	Waiting     string  `json:"waiting,omitempty"`
	Reason      string  `json:"reason,omitempty"`
	Tables      []Table `json:"tables"`
	// Writers are the marks of what is written by table, where they are not all the same; "" is in clear.
	Writers map[string]string `json:"writers,omitempty"`
	Proof   *Proof            `json:"proof,omitempty"`
}

// Progress shows the job, also one that ended; found is false when there never was one.
func (j *Job) Progress(ctx context.Context) (progress Progress, found bool, err error) {
	s, _, err := j.load(ctx)
	if err != nil || s == nil {
		return Progress{}, false, err
	}
	return s.progress(), true, nil
}

func (s *stored) progress() Progress {
	p := Progress{
		State: s.State, ID: s.ID, To: s.To, Table: s.Table, Workspace: s.Workspace, Rate: s.Rate, Node: s.Owner,
		Pass: s.Pass, Started: s.Started, Ended: s.Ended, Speed: math.Round(s.Speed), Waiting: s.Waiting, Reason: s.Reason,
		Tables: s.Tables, Proof: s.Proof,
	}
	switch seals := marks(s.Writers); len(seals) {
	case 0:
	case 1:
		p.Writer = seals[0]
	default:
		p.Writers = s.Writers
	}
	if p.Tables == nil {
		p.Tables = []Table{}
	}
	todo, done := 0, 0
	for _, t := range s.Tables {
		todo += t.Stale
		done += t.InPass + t.unreadable()
		p.Scanned += t.Scanned
		p.Resealed += t.Resealed
		p.Unreadable += t.unreadable()
		p.Retried += t.Retried
	}
	switch {
	case s.State == Done:
		p.Percent = 100
	case todo > 0: // the last percent is the proof
		p.Percent = math.Round(1000*math.Min(0.99, float64(done)/float64(todo))) / 10
	}
	if s.State == Running && s.Speed >= 1 && s.Workspace == "" {
		left := int(math.Ceil(float64(max(0, todo-done)) / s.Speed))
		p.SecondsLeft = &left
	}
	return p
}

// marks lists those that are of some provider.
func marks(writers map[string]string) (list []string) {
	for _, mark := range writers {
		if mark != "" && !slices.Contains(list, mark) {
			list = append(list, mark)
		}
	}
	slices.Sort(list)
	return list
}
