import { CssBaseline, ThemeProvider } from '@mui/material';
import { ChartsProvider, SnackbarProvider, generateChartsTheme, getTheme } from '@perses-dev/components';
import { PluginRegistry } from '@perses-dev/plugin-system';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter, Navigate, Route, Routes } from 'react-router-dom';
import { QueryParamProvider } from 'use-query-params';
import { ReactRouter6Adapter } from 'use-query-params/adapters/react-router-6';

import { Alerts } from './Alerts.jsx';
import { request, session } from './api.js';
import { DashboardPage, Home } from './Dashboard.jsx';
import { Explore } from './Explore.jsx';
import { Login } from './Login.jsx';
import { pluginLoader, setScrapeInterval } from './plugins.js';
import { Shell } from './Shell.jsx';
import { Language, initialLanguage, saveLanguage } from './texts.js';

const client = new QueryClient({ defaultOptions: { queries: { refetchOnWindowFocus: false, retry: 1 } } });
const DEFAULTS = { Panel: 'TimeSeriesChart', TimeSeriesQuery: 'PrometheusTimeSeriesQuery' };
const DARK = 'dark';

function App() {
  const [rights, setRights] = useState(); // undefined until the server has answered, null without a session
  const [language, setLanguage] = useState(initialLanguage);
  const [dark, setDark] = useState(() => localStorage.getItem(DARK) === 'true');
  const theme = useMemo(() => getTheme(dark ? 'dark' : 'light'), [dark]);
  const charts = useMemo(() => generateChartsTheme(theme, {}), [theme]);

  function enter(found) {
    setScrapeInterval(found.scrapeInterval);
    setRights(found);
  }

  useEffect(() => {
    const end = () => {
      client.clear();
      setRights(null);
    };
    session.addEventListener('ended', end);
    request('/api/session').then(enter, end);
    return () => session.removeEventListener('ended', end);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language;
    saveLanguage(language);
  }, [language]);
  useEffect(() => localStorage.setItem(DARK, String(dark)), [dark]);

  const settings = { language, setLanguage, dark, setDark };
  return (
    <Language.Provider value={language}>
      <ThemeProvider theme={theme}>
        <CssBaseline />
        {rights === null && <Login {...settings} onLogin={enter} />}
        {rights && (
          <QueryClientProvider client={client}>
            <ChartsProvider chartsTheme={charts} enablePinning={false}>
              <SnackbarProvider anchorOrigin={{ vertical: 'bottom', horizontal: 'right' }}>
                <PluginRegistry pluginLoader={pluginLoader} defaultPluginKinds={DEFAULTS}>
                  <BrowserRouter>
                    <QueryParamProvider adapter={ReactRouter6Adapter}>
                      <Shell {...settings} rights={rights}>
                        <Routes>
                          <Route path="/" element={<Home rights={rights} />} />
                          <Route path="/d/:name" element={<DashboardPage />} />
                          <Route path="/explore" element={<Explore />} />
                          <Route path="/alerts" element={<Alerts rights={rights} />} />
                          <Route path="*" element={<Navigate to="/" replace />} />
                        </Routes>
                      </Shell>
                    </QueryParamProvider>
                  </BrowserRouter>
                </PluginRegistry>
              </SnackbarProvider>
            </ChartsProvider>
          </QueryClientProvider>
        )}
      </ThemeProvider>
    </Language.Provider>
  );
}

createRoot(document.getElementById('root')).render(<App />);
