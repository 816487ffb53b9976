// Perses-viewer serves the dashboards' pages and passes queries on to Prometheus and Alertmanager.
//
// It has no rights of its own. A visitor logs in with a token of the cluster; with that token the API server is asked who
// the visitor is and whether the visitor may get the objects Prometheus and Alertmanager. Only reading requests are passed
// on, without the token. A visitor who may not, but may read the metrics of pods in namespaces of teams, gets the series,
// alerts and silences of these namespaces: prom-label-proxy adds the namespace to every selector.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus-community/prom-label-proxy/injectproxy"
)

const (
	cookieName  = "perses-viewer"
	account     = "/var/run/secrets/kubernetes.io/serviceaccount"
	maxBody     = 1 << 20
	maxSessions = 10_000
	idle        = 8 * time.Hour // a session without requests ends
	recheck     = time.Minute   // how long an answer of the API server is used
	upstream    = 60 * time.Second
	contentRule = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
		"font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

var (
	errDenied   = errors.New("not allowed")
	errRejected = errors.New("the API server rejects the token")
)

// The requests that are passed on. Everything else of both APIs is refused.
var (
	prometheusPaths = regexp.MustCompile(`^/api/v1/(query|query_range|labels|label/[^/]+/values|series|rules|alerts|metadata|parse_query|format_query)$`)
	alertmanagerAPI = regexp.MustCompile(`^/api/v2/(alerts|alerts/groups|silences|status)$`)
	prometheusPosts = regexp.MustCompile(`^/api/v1/(query|query_range|labels|series|parse_query|format_query)$`)
)

// What members of teams are refused: the names of all metrics, and the configuration of Alertmanager.
var ofPlatform = regexp.MustCompile(`^/api/(v1/metadata|v2/status)$`)

// Rights are what the API server says about a token.
type rights struct {
	User         string `json:"user"`
	Prometheus   bool   `json:"prometheus"`
	Alertmanager bool   `json:"alertmanager"`
	// The namespaces that both are limited to; none for the whole cluster.
	Namespaces []string `json:"namespaces,omitempty"`
	// The shortest interval between two samples, which the pages need for rates.
	ScrapeInterval string `json:"scrapeInterval"`
}

type answer struct {
	rights rights
	err    error
	at     time.Time
}

type session struct {
	token string
	used  time.Time
}

type viewer struct {
	api       *url.URL
	client    *http.Client
	namespace string
	teams     []string
	static    string
	interval  string
	status    *statusPage // nil if it is not published

	mutex    sync.Mutex
	sessions map[string]*session
	answers  map[[sha256.Size]byte]answer
	now      func() time.Time
}

func main() {
	listen := flag.String("listen", ":8080", "address to listen on")
	listenMetrics := flag.String("listen-metrics", "", "address to serve the program's own metrics on; empty for none")
	static := flag.String("static", "/web", "directory of the pages")
	api := flag.String("api-server", "", "URL of the API server; empty for the one of the cluster")
	apiCA := flag.String("api-server-ca", account+"/ca.crt", "certificate authority of the API server")
	namespace := flag.String("namespace", "", "namespace of the objects Prometheus and Alertmanager")
	teams := flag.String("team-namespaces", "", "namespaces of teams, separated by commas; their members see only these")
	prometheus := flag.String("prometheus", "", "URL of Prometheus")
	prometheusCA := flag.String("prometheus-ca", "", "its certificate authority")
	alertmanager := flag.String("alertmanager", "", "URL of Alertmanager; empty if there is none")
	alertmanagerCA := flag.String("alertmanager-ca", "", "its certificate authority")
	publish := flag.Bool("status", false, "publish the state of the objectives at /status, without a login")
	interval := flag.String("scrape-interval", "30s", "how often Prometheus scrapes")
	flag.Parse()

	if *api == "" {
		*api = "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	}
	one := &viewer{
		api:       must(url.Parse(*api)),
		client:    &http.Client{Transport: must(transport(*apiCA)), Timeout: 10 * time.Second},
		namespace: *namespace,
		teams:     strings.FieldsFunc(*teams, func(c rune) bool { return c == ',' }),
		static:    *static,
		interval:  *interval,
		sessions:  map[string]*session{},
		answers:   map[[sha256.Size]byte]answer{},
		now:       time.Now,
	}
	if *publish {
		one.status = must(newStatusPage(*prometheus, *prometheusCA))
	}
	server := &http.Server{
		Addr: *listen,
		Handler: one.handler(
			must(proxy(*prometheus, *prometheusCA)), must(limited(*prometheus, *prometheusCA)),
			must(proxy(*alertmanager, *alertmanagerCA)), must(limited(*alertmanager, *alertmanagerCA)),
		),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      upstream + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	stopped, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if one.status != nil {
		go one.status.run(stopped)
	}
	go func() {
		<-stopped.Done()
		ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ending)
	}()
	if *listenMetrics != "" {
		go func() { log.Fatal(one.metricsServer(*listenMetrics).ListenAndServe()) }()
	}
	log.Printf("listening on %s", *listen)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// Transport trusts an authority, or those of the system.
func transport(authority string) (*http.Transport, error) {
	made := http.DefaultTransport.(*http.Transport).Clone()
	made.Proxy = nil
	made.MaxIdleConnsPerHost = 32
	if authority == "" {
		return made, nil
	}
	content, err := os.ReadFile(authority)
	if errors.Is(err, os.ErrNotExist) && authority == account+"/ca.crt" {
		return made, nil
	} else if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s contains no certificate", authority)
	}
	made.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return made, nil
}

// Proxy passes requests on without what identifies the visitor. Without a URL it is nil.
func proxy(address, authority string) (http.Handler, error) {
	if address == "" {
		return nil, nil
	}
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	through, err := transport(authority)
	if err != nil {
		return nil, err
	}
	through.ResponseHeaderTimeout = upstream
	return &httputil.ReverseProxy{
		Transport: through,
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			kept := http.Header{}
			for _, name := range []string{"Accept", "Accept-Encoding", "Content-Type"} {
				if value := request.In.Header.Get(name); value != "" {
					kept.Set(name, value)
				}
			}
			request.Out.Header = kept
		},
		ModifyResponse: func(response *http.Response) error {
			kept := http.Header{}
			for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Type"} {
				if value := response.Header.Get(name); value != "" {
					kept.Set(name, value)
				}
			}
			response.Header = kept
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			log.Printf("%s: %v", target.Host, err)
			refuse(w, http.StatusBadGateway, target.Hostname()+" is not available")
		},
	}, nil
}

// The namespaces are in the context of the request already.
type fromContext struct{}

func (fromContext) ExtractLabel(next http.HandlerFunc) http.Handler { return next }

// Limited passes requests on that are limited to the namespaces in their context. Without a URL it is nil.
func limited(address, authority string) (http.Handler, error) {
	if address == "" {
		return nil, nil
	}
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	options := []injectproxy.Option{
		injectproxy.WithEnabledLabelsAPI(),
		injectproxy.WithActiveAlerts(),
		injectproxy.WithPassthroughPaths([]string{"/api/v1/parse_query", "/api/v1/format_query"}),
	}
	if authority != "" {
		options = append(options, injectproxy.WithUpstreamCaCert(authority))
	}
	routes, err := injectproxy.NewRoutes(target, "namespace", fromContext{}, options...)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kept := http.Header{}
		for _, name := range []string{"Accept", "Content-Type"} {
			if value := r.Header.Get(name); value != "" {
				kept.Set(name, value)
			}
		}
		r.Header = kept
		routes.ServeHTTP(&plain{w}, r)
	}), nil
}

// Plain leaves out what an upstream sends besides the content.
type plain struct{ http.ResponseWriter }

func (p *plain) WriteHeader(status int) {
	for _, name := range []string{"Set-Cookie", "Server", "Access-Control-Allow-Origin"} {
		p.Header().Del(name)
	}
	p.ResponseWriter.WriteHeader(status)
}

// Within answers a request with the series, alerts or silences of namespaces.
func within(next http.Handler, namespaces []string, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v2/silences" {
		next.ServeHTTP(w, r.WithContext(injectproxy.WithLabelValues(r.Context(), slices.Clone(namespaces))))
		return
	}
	// The proxy knows silences of one namespace only.
	all := []json.RawMessage{}
	for _, namespace := range namespaces {
		seen := httptest.NewRecorder()
		next.ServeHTTP(seen, r.Clone(injectproxy.WithLabelValues(r.Context(), []string{namespace})))
		var some []json.RawMessage
		if seen.Code != http.StatusOK || json.Unmarshal(seen.Body.Bytes(), &some) != nil {
			refuse(w, http.StatusBadGateway, "alertmanager is not available")
			return
		}
		all = append(all, some...)
	}
	reply(w, all)
}

func (v *viewer) handler(prometheus, someSeries, alertmanager, someAlerts http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("POST /api/login", counted("login", http.HandlerFunc(v.login)))
	mux.Handle("POST /api/logout", counted("logout", http.HandlerFunc(v.logout)))
	mux.Handle("GET /api/session", counted("session", http.HandlerFunc(v.session)))
	mux.Handle("/prometheus/", counted("prometheus", v.guarded("/prometheus", prometheus, someSeries, prometheusPaths, prometheusPosts, func(r rights) bool { return r.Prometheus })))
	mux.Handle("/alertmanager/", counted("alertmanager", v.guarded("/alertmanager", alertmanager, someAlerts, alertmanagerAPI, nil, func(r rights) bool { return r.Alertmanager })))
	if v.status != nil {
		mux.Handle("GET /status", counted("status", http.HandlerFunc(v.status.html)))
		mux.Handle("GET /status.json", counted("status", http.HandlerFunc(v.status.json)))
	}
	mux.Handle("/", counted("page", http.HandlerFunc(v.page)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentRule)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

// Answered remembers the status of a response.
type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets the proxy flush.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Counted counts the requests to a handler by status code, and measures their duration.
func counted(name string, next http.Handler) http.Handler {
	duration := metrics.GetOrCreatePrometheusHistogram(fmt.Sprintf("perses_viewer_request_duration_seconds{handler=%q}", name))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, seen := time.Now(), &answered{w, http.StatusOK}
		next.ServeHTTP(seen, r)
		duration.UpdateDuration(began)
		metrics.GetOrCreateCounter(fmt.Sprintf("perses_viewer_requests_total{handler=%q,code=\"%d\"}", name, seen.status)).Inc()
	})
}

// MetricsServer serves the metrics on an address of their own, which users do not reach.
func (v *viewer) metricsServer(address string) *http.Server {
	metrics.NewGauge("perses_viewer_sessions", func() float64 {
		v.mutex.Lock()
		defer v.mutex.Unlock()
		return float64(len(v.sessions))
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		metrics.WritePrometheus(w, true)
	})
	return &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
}

func (v *viewer) guarded(prefix string, next, some http.Handler, paths, posts *regexp.Regexp, may func(rights) bool) http.Handler {
	return http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := v.visitor(w, r)
		if !ok {
			return
		}
		post := r.Method == http.MethodPost && posts != nil && posts.MatchString(r.URL.Path)
		switch {
		case !may(who):
			refuse(w, http.StatusForbidden, who.User+" is not allowed to read this")
		case next == nil || !paths.MatchString(r.URL.Path):
			refuse(w, http.StatusNotFound, "not found")
		case r.Method != http.MethodGet && !post:
			refuse(w, http.StatusMethodNotAllowed, "only reading requests are passed on")
		case who.Namespaces != nil && ofPlatform.MatchString(r.URL.Path):
			refuse(w, http.StatusForbidden, who.User+" may read the namespaces "+strings.Join(who.Namespaces, ", ")+" only")
		case who.Namespaces != nil:
			within(some, who.Namespaces, w, r)
		default:
			next.ServeHTTP(w, r)
		}
	}))
}

// Visitor returns the rights of a request's token, from its session or its header; it answers requests without any.
func (v *viewer) visitor(w http.ResponseWriter, r *http.Request) (rights, bool) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		token = v.tokenOf(r)
	}
	if token == "" {
		refuse(w, http.StatusUnauthorized, "log in first")
		return rights{}, false
	}
	who, err := v.ask(r.Context(), token)
	switch {
	case errors.Is(err, errRejected):
		v.forget(r)
		refuse(w, http.StatusUnauthorized, err.Error())
	case errors.Is(err, errDenied):
		refuse(w, http.StatusForbidden, who.User+" is not allowed to get the monitoring of this cluster")
	case err != nil:
		log.Printf("API server: %v", err)
		refuse(w, http.StatusBadGateway, "the API server is not available")
	}
	return who, err == nil
}

func (v *viewer) tokenOf(r *http.Request) string {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	v.mutex.Lock()
	defer v.mutex.Unlock()
	found := v.sessions[cookie.Value]
	if found == nil {
		return ""
	}
	if v.now().Sub(found.used) > idle {
		delete(v.sessions, cookie.Value)
		return ""
	}
	found.used = v.now()
	return found.token
}

func (v *viewer) forget(r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		v.mutex.Lock()
		defer v.mutex.Unlock()
		delete(v.sessions, cookie.Value)
	}
}

func (v *viewer) login(w http.ResponseWriter, r *http.Request) {
	// A form of another site cannot send this type.
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "the request is not JSON")
		return
	}
	var given struct {
		Token string `json:"token"`
	}
	if json.NewDecoder(r.Body).Decode(&given) != nil || strings.TrimSpace(given.Token) == "" {
		refuse(w, http.StatusBadRequest, "the request has no token")
		return
	}
	token := strings.TrimSpace(given.Token)
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		refuse(w, http.StatusUnauthorized, errRejected.Error())
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	who, ok := v.visitor(w, r)
	if !ok {
		return
	}
	name := rand.Text() + rand.Text()
	v.mutex.Lock()
	v.prune()
	v.sessions[name] = &session{token: token, used: v.now()}
	v.mutex.Unlock()
	http.SetCookie(w, cookie(r, name, 0))
	reply(w, who)
}

// Prune deletes what is old, and the oldest sessions if there are too many. The caller holds the mutex.
func (v *viewer) prune() {
	names := make([]string, 0, len(v.sessions))
	for name, one := range v.sessions {
		if v.now().Sub(one.used) > idle {
			delete(v.sessions, name)
		} else {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return v.sessions[a].used.Compare(v.sessions[b].used) })
	for _, name := range names[:max(0, len(names)-maxSessions+1)] {
		delete(v.sessions, name)
	}
}

func cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.Header.Get("X-Forwarded-Proto") == "https", // an Ingress ends TLS
	}
}

func (v *viewer) logout(w http.ResponseWriter, r *http.Request) {
	v.forget(r)
	http.SetCookie(w, cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func (v *viewer) session(w http.ResponseWriter, r *http.Request) {
	if who, ok := v.visitor(w, r); ok {
		reply(w, who)
	}
}

// Ask returns what the API server says about a token, not older than a minute.
func (v *viewer) ask(ctx context.Context, token string) (rights, error) {
	key := sha256.Sum256([]byte(token))
	v.mutex.Lock()
	for other, one := range v.answers {
		if v.now().Sub(one.at) > recheck {
			delete(v.answers, other)
		}
	}
	known, ok := v.answers[key]
	v.mutex.Unlock()
	if ok {
		return known.rights, known.err
	}
	found, err := v.review(ctx, token)
	metrics.GetOrCreateCounter(fmt.Sprintf("perses_viewer_reviews_total{result=%q}", result(err))).Inc()
	if err == nil || errors.Is(err, errDenied) {
		v.mutex.Lock()
		v.answers[key] = answer{found, err, v.now()}
		v.mutex.Unlock()
	}
	return found, err
}

// Result is a word for the outcome of a review.
func result(err error) string {
	switch {
	case err == nil:
		return "allowed"
	case errors.Is(err, errDenied):
		return "denied"
	case errors.Is(err, errRejected):
		return "rejected"
	}
	return "error"
}

func (v *viewer) review(ctx context.Context, token string) (rights, error) {
	var self struct {
		Status struct {
			UserInfo struct {
				Username string `json:"username"`
			} `json:"userInfo"`
		} `json:"status"`
	}
	err := v.create(ctx, token, "authentication.k8s.io/v1", "SelfSubjectReview", nil, &self)
	if err != nil {
		return rights{}, err
	}
	found := rights{User: self.Status.UserInfo.Username, ScrapeInterval: v.interval}
	if found.User == "system:anonymous" {
		return rights{}, errRejected
	}
	if found.Prometheus, err = v.may(ctx, token, v.namespace, "monitoring.coreos.com", "prometheuses"); err != nil {
		return found, err
	}
	if found.Alertmanager, err = v.may(ctx, token, v.namespace, "monitoring.coreos.com", "alertmanagers"); err != nil {
		return found, err
	}
	if found.Prometheus || found.Alertmanager {
		return found, nil
	}
	for _, namespace := range v.teams {
		allowed, err := v.may(ctx, token, namespace, "metrics.k8s.io", "pods")
		if err != nil {
			return found, err
		}
		if allowed {
			found.Namespaces = append(found.Namespaces, namespace)
		}
	}
	if found.Namespaces == nil {
		return found, errDenied
	}
	found.Prometheus, found.Alertmanager = true, true
	return found, nil
}

func (v *viewer) may(ctx context.Context, token, namespace, group, resource string) (bool, error) {
	var access struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	attributes := map[string]string{"namespace": namespace, "verb": "get", "group": group, "resource": resource}
	spec := map[string]any{"resourceAttributes": attributes}
	err := v.create(ctx, token, "authorization.k8s.io/v1", "SelfSubjectAccessReview", spec, &access)
	return access.Status.Allowed, err
}

// Create sends a review with the visitor's token and reads its status.
func (v *viewer) create(ctx context.Context, token, version, kind string, spec, status any) error {
	object := map[string]any{"apiVersion": version, "kind": kind}
	if spec != nil {
		object["spec"] = spec
	}
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	address := v.api.JoinPath("apis", version, strings.ToLower(kind)+"s").String()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusCreated, http.StatusOK:
		return json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(status)
	case http.StatusUnauthorized:
		return errRejected
	case http.StatusForbidden:
		return errDenied
	}
	return fmt.Errorf("%s: HTTP status %d", kind, response.StatusCode)
}

// Page serves a file, or the page itself for the paths of its views.
func (v *viewer) page(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "pages can only be read")
		return
	}
	name := path.Clean("/" + r.URL.Path)
	if v.serve(w, r, name) {
		return
	}
	if path.Ext(name) != "" {
		refuse(w, http.StatusNotFound, "not found")
		return
	}
	if !v.serve(w, r, "/index.html") {
		refuse(w, http.StatusNotFound, "the pages are missing")
	}
}

// Serve sends a file, which is stored compressed. It returns whether there is one.
func (v *viewer) serve(w http.ResponseWriter, r *http.Request, name string) bool {
	content, err := os.ReadFile(filepath.Join(v.static, filepath.FromSlash(name)) + ".gz")
	if err != nil {
		return false
	}
	header := w.Header()
	header.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	header.Set("Vary", "Accept-Encoding")
	if strings.HasPrefix(name, "/assets/") {
		header.Set("Cache-Control", "public, max-age=31536000, immutable") // their names contain a digest
	} else {
		header.Set("Cache-Control", "no-cache")
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		_, _ = w.Write(content)
		return true
	}
	plain, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return false
	}
	_, _ = io.Copy(w, plain)
	return true
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// Refuse answers in the format of the API of Prometheus, whose clients show the message.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": http.StatusText(status), "error": message})
}
