package main

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	statusEvery = time.Minute
	statusStale = 5 * time.Minute
	statusDays  = 14
)

// Objective is what the status page shows of a service level objective.
type objective struct {
	Name    string `json:"name"`
	Cluster string `json:"cluster,omitempty"`
	// operational, degraded, disrupted, or unknown without samples
	State string `json:"state"`
	// Percentages of good events: the objective, and within its window.
	Objective float64  `json:"objective"`
	Good      *float64 `json:"good"`
	Window    int      `json:"windowDays"`
	// Percentage of the error budget that is left.
	Budget *float64 `json:"errorBudgetRemaining"`
	// Percentages of good events of the last days, the oldest first; null for a day without samples.
	Days []*float64 `json:"days"`
}

type statusDocument struct {
	Updated    time.Time   `json:"updated"`
	State      string      `json:"state"`
	Objectives []objective `json:"objectives"`
}

// StatusPage has the state of the objectives, for everyone. Requests never reach Prometheus: a page is made every minute.
type statusPage struct {
	prometheus *url.URL
	client     *http.Client

	mutex    sync.RWMutex
	document statusDocument
}

type sample struct {
	Metric map[string]string    `json:"metric"`
	Value  [2]json.RawMessage   `json:"value"`
	Values [][2]json.RawMessage `json:"values"`
}

func newStatusPage(address, authority string) (*statusPage, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	through, err := transport(authority)
	if err != nil {
		return nil, err
	}
	return &statusPage{
		prometheus: target,
		client:     &http.Client{Transport: through, Timeout: 30 * time.Second},
		document:   statusDocument{State: "unknown", Objectives: []objective{}},
	}, nil
}

// Run updates the page until the program ends.
func (s *statusPage) run(ctx context.Context) {
	for {
		if document, err := s.read(ctx, time.Now()); err != nil {
			log.Printf("status page: %v", err)
		} else {
			s.mutex.Lock()
			s.document = document
			s.mutex.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(statusEvery):
		}
	}
}

func (s *statusPage) read(ctx context.Context, now time.Time) (statusDocument, error) {
	const names = "objective:ratio|window:days|error_ratio:rate5m|error_ratio:window|error_budget_remaining:ratio"
	recorded, err := s.query(ctx, "query", url.Values{"query": {`{__name__=~"slo:(` + names + `)"}`}})
	if err != nil {
		return statusDocument{}, err
	}
	burning, err := s.query(ctx, "query", url.Values{"query": {`ALERTS{alertname="SloErrorBudgetBurn",alertstate="firing"}`}})
	if err != nil {
		return statusDocument{}, err
	}
	first := now.AddDate(0, 0, 1-statusDays)
	daily, err := s.query(ctx, "query_range", url.Values{
		"query": {"slo:error_ratio:rate1d"}, "step": {"86400"},
		"start": {strconv.FormatInt(first.Unix(), 10)}, "end": {strconv.FormatInt(now.Unix(), 10)},
	})
	if err != nil {
		return statusDocument{}, err
	}
	found := map[[2]string]*objective{}
	of := func(metric map[string]string) *objective {
		key := [2]string{metric["slo"], metric["cluster"]}
		if found[key] == nil {
			found[key] = &objective{Name: key[0], Cluster: key[1], State: "unknown", Days: make([]*float64, statusDays)}
		}
		return found[key]
	}
	for _, one := range recorded {
		value, ok := number(one.Value[1])
		if !ok {
			continue
		}
		switch into := of(one.Metric); one.Metric["__name__"] {
		case "slo:objective:ratio":
			into.Objective = rounded(100 * value)
		case "slo:window:days":
			into.Window = int(value)
		case "slo:error_ratio:rate5m":
			into.State = "operational"
		case "slo:error_ratio:window":
			into.Good = share(1 - value)
		case "slo:error_budget_remaining:ratio":
			into.Budget = share(value)
		}
	}
	for _, one := range burning {
		into := of(one.Metric)
		if one.Metric["severity"] == "critical" {
			into.State = "disrupted"
		} else if into.State != "disrupted" {
			into.State = "degraded"
		}
	}
	for _, one := range daily {
		into := of(one.Metric)
		for _, pair := range one.Values {
			value, ok := number(pair[1])
			at, err := strconv.ParseFloat(string(pair[0]), 64)
			if day := int(math.Round((at - float64(first.Unix())) / 86400)); ok && err == nil && day >= 0 && day < statusDays {
				into.Days[day] = share(1 - value)
			}
		}
	}
	document := statusDocument{Updated: now.UTC().Truncate(time.Second), State: "unknown", Objectives: []objective{}}
	order := []string{"unknown", "operational", "degraded", "disrupted"}
	for _, one := range found {
		if one.Window == 0 && one.Good == nil && one.State == "unknown" {
			continue // its samples are of an objective that is no longer defined
		}
		document.Objectives = append(document.Objectives, *one)
		document.State = order[max(slices.Index(order, document.State), slices.Index(order, one.State))]
	}
	slices.SortFunc(document.Objectives, func(a, b objective) int {
		return strings.Compare(a.Name+"\x00"+a.Cluster, b.Name+"\x00"+b.Cluster)
	})
	return document, nil
}

func (s *statusPage) query(ctx context.Context, path string, parameters url.Values) ([]sample, error) {
	address := s.prometheus.JoinPath("api/v1", path)
	address.RawQuery = parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: HTTP status %d", path, response.StatusCode)
	}
	var answer struct {
		Data struct {
			Result []sample `json:"result"`
		} `json:"data"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, 8*maxBody)).Decode(&answer)
	return answer.Data.Result, err
}

func number(text json.RawMessage) (float64, bool) {
	value, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	return value, err == nil && !math.IsNaN(value) && !math.IsInf(value, 0)
}

func share(ratio float64) *float64 {
	value := rounded(100 * ratio)
	return &value
}

func rounded(value float64) float64 { return math.Round(value*1000) / 1000 }

func (s *statusPage) current() statusDocument {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return s.document
}

func (s *statusPage) json(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	reply(w, s.current())
}

func (s *statusPage) html(w http.ResponseWriter, r *http.Request) {
	language := "en"
	if strings.HasPrefix(strings.ToLower(r.Header.Get("Accept-Language")), "fr") {
		language = "fr"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept-Language")
	_, _ = io.WriteString(w, statusHTML(s.current(), language, time.Now()))
}

// StatusHTML is the page as text: html/template would make the program a third larger.
func statusHTML(document statusDocument, language string, now time.Time) string {
	texts := statusTexts[language]
	var page strings.Builder
	write := func(format string, values ...any) { fmt.Fprintf(&page, format, values...) }
	write(statusHead, language, texts["title"], texts[document.State], texts["title"])
	if len(document.Objectives) == 0 {
		write("<p>%s</p>\n</html>\n", texts["none"])
		return page.String()
	}
	if now.Sub(document.Updated) > statusStale {
		write("<p role=\"alert\"><strong>%s</strong></p>\n", texts["stale"])
	}
	entry := func(name string, value float64) {
		write("<div><dt>%s</dt><dd>%s</dd></div>\n", name, percent(language, value))
	}
	for _, one := range document.Objectives {
		name := one.Name
		if one.Cluster != "" {
			name += " (" + one.Cluster + ")"
		}
		write("<section>\n<h2>%s <span class=\"state %s\">%s</span></h2>\n<dl>\n", html.EscapeString(name), one.State, texts[one.State])
		entry(texts["objective"], one.Objective)
		if one.Good != nil {
			entry(fmt.Sprintf("%s (%d %s)", texts["good"], one.Window, texts["days"]), *one.Good)
		}
		if one.Budget != nil {
			entry(texts["budget"], *one.Budget)
		}
		write("</dl>\n<ol class=\"days\" aria-label=\"%s\">\n", texts["history"])
		for _, day := range one.Days {
			title := texts["unknown"]
			if day != nil {
				title = percent(language, *day)
			}
			write("<li class=\"%s\" title=\"%s\"></li>\n", class(day, one.Objective), title)
		}
		write("</ol>\n</section>\n")
	}
	write("<p><small>%s <time>%s</time> · <a href=\"/status.json\">JSON</a></small></p>\n</html>\n",
		texts["updated"], document.Updated.Format("2006-01-02 15:04 MST"))
	return page.String()
}

// Percent writes a number as a language does.
func percent(language string, value float64) string {
	text := strconv.FormatFloat(value, 'f', -1, 64)
	if language == "fr" {
		return strings.Replace(text, ".", ",", 1) + "\u202f%"
	}
	return text + "%"
}

// Class is the color of a day: whether it alone met the objective.
func class(day *float64, objective float64) string {
	switch {
	case day == nil:
		return "unknown"
	case *day >= objective:
		return "operational"
	case *day >= 100-5*(100-objective):
		return "degraded"
	}
	return "disrupted"
}

const statusHead = `<!doctype html>
<html lang="%s">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="60">
<title>%s – %s</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.4 }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
section { border: 1px solid #8886; border-radius: .5rem; padding: .75rem 1rem; margin: 1rem 0 }
h2 { display: flex; justify-content: space-between; gap: 1rem; font-size: 1.1rem; margin: 0 0 .5rem }
dl { display: flex; flex-wrap: wrap; gap: .25rem 2rem; margin: 0 } dt { font-size: .8rem } dd { margin: 0; font-weight: 600 }
.days { display: flex; gap: 2px; margin: .75rem 0 0; padding: 0; list-style: none } .days li { flex: 1; height: 1.5rem; border-radius: 2px }
.state { border-radius: 1rem; padding: .1rem .7rem; font-size: .85rem }
.operational { background: #1b7a3d; color: #fff } .degraded { background: #a15c00; color: #fff }
.disrupted { background: #b3261e; color: #fff } .unknown { background: #6b7280; color: #fff }
</style>
<h1>%s</h1>
`

var statusTexts = map[string]map[string]string{
	"en": {
		"title": "Status", "operational": "Operational", "degraded": "Degraded", "disrupted": "Disrupted", "unknown": "No data",
		"objective": "Objective", "good": "Reached", "days": "days", "budget": "Error budget left", "updated": "Updated",
		"stale": "These figures are old: the monitoring does not answer.", "history": "The last 14 days, today last",
		"none": "There are no figures yet.",
	},
	"fr": {
		"title": "État des services", "operational": "Opérationnel", "degraded": "Dégradé", "disrupted": "Perturbé",
		"unknown": "Aucune donnée", "objective": "Objectif", "good": "Atteint", "days": "jours",
		"budget": "Budget d’erreur restant", "updated": "Mis à jour le",
		"stale": "Ces chiffres sont anciens\u00a0: la supervision ne répond pas.", "history": "Les 14 derniers jours, aujourd’hui à droite",
		"none": "Il n’y a pas encore de chiffres.",
	},
}
