import { Alert, Box, Button, Chip, Stack, Typography } from '@mui/material';
import { ErrorAlert, ErrorBoundary } from '@perses-dev/components';
import { Dashboard, DashboardProvider, DashboardStickyToolbar, DatasourceStoreProvider, VariableProviderWithQueryParams } from '@perses-dev/dashboards';
import { TimeRangeControls, TimeRangeProviderWithQueryParams, useInitialRefreshInterval, useInitialTimeRange, usePluginBuiltinVariableDefinitions } from '@perses-dev/plugin-system';
import { useQuery } from '@tanstack/react-query';
import { Link, useLocation, useParams } from 'react-router-dom';
import { JsonParam, useQueryParam } from 'use-query-params';

import { alerts, dashboard } from './api.js';
import { datasourceApi } from './plugins.js';
import { useTexts } from './texts.js';

const OVERVIEW = 'maas-overview';
const REFRESH = 30_000;

// The view of a dashboard that cannot be edited.
function View({ resource, above }) {
  const { spec } = resource;
  const [panel, setPanel] = useQueryParam('viewPanelRef', JsonParam);
  const time = useInitialTimeRange(spec.duration);
  const refresh = useInitialRefreshInterval(spec.refreshInterval);
  const { data: builtin } = usePluginBuiltinVariableDefinitions();
  if (!builtin) return null;
  const state = { dashboardResource: resource, isEditMode: false, viewPanelRef: panel ?? undefined, setViewPanelRef: setPanel };
  return (
    <DatasourceStoreProvider dashboardResource={resource} datasourceApi={datasourceApi}>
      <DashboardProvider initialState={state}>
        <TimeRangeProviderWithQueryParams initialTimeRange={time} initialRefreshInterval={refresh}>
          <VariableProviderWithQueryParams initialVariableDefinitions={spec.variables} builtinVariableDefinitions={builtin}>
            <Box sx={{ p: 2 }}>
              <Stack direction="row" flexWrap="wrap" justifyContent="space-between" gap={1}>
                <Box>
                  <Typography variant="h2" component="h1">
                    {spec.display.name}
                  </Typography>
                  <Typography color="text.secondary">{spec.display.description}</Typography>
                </Box>
                <Stack direction="row" spacing={1}>
                  <TimeRangeControls />
                </Stack>
              </Stack>
              {above}
              <DashboardStickyToolbar initialVariableIsSticky={false} sx={{ bgcolor: 'background.default' }} />
              <Box sx={{ pt: 2 }}>
                <ErrorBoundary FallbackComponent={ErrorAlert}>
                  <Dashboard emptyDashboardProps={{}} />
                </ErrorBoundary>
              </Box>
            </Box>
          </VariableProviderWithQueryParams>
        </TimeRangeProviderWithQueryParams>
      </DashboardProvider>
    </DatasourceStoreProvider>
  );
}

function Loaded({ name, above }) {
  const texts = useTexts();
  const { data, error } = useQuery(['dashboard', name], () => dashboard(name), { staleTime: Infinity });
  if (error) {
    return (
      <Alert severity="error" sx={{ m: 2 }}>
        {error.status === 404 ? texts.notFound : error.message}
      </Alert>
    );
  }
  return data ? <View key={name} resource={data} above={above} /> : null;
}

export function DashboardPage() {
  const { name } = useParams();
  return <Loaded name={name} />;
}

const COLORS = { critical: 'error', warning: 'warning' };

function AlertSummary({ rights }) {
  const texts = useTexts();
  const { search } = useLocation();
  const { data, error } = useQuery(['alerts'], () => alerts(rights), { refetchInterval: REFRESH });
  if (error) return <Alert severity="error">{error.message}</Alert>;
  if (!data) return null;
  const counts = new Map();
  for (const { state, labels } of data) {
    const severity = labels.severity ?? 'none';
    // The alert Watchdog always fires; its severity is `none`.
    if (state === 'firing' && severity !== 'none') counts.set(severity, (counts.get(severity) ?? 0) + 1);
  }
  return (
    <Stack direction="row" gap={1} alignItems="center" flexWrap="wrap" sx={{ my: 1 }} data-testid="alert-summary">
      {counts.size === 0 && <Chip color="success" label={texts.noAlerts} />}
      {[...counts].map(([severity, count]) => (
        <Chip key={severity} color={COLORS[severity] ?? 'default'} label={texts.count(count, severity)} />
      ))}
      <Button size="small" component={Link} to={{ pathname: '/alerts', search }}>
        {texts.seeAlerts}
      </Button>
    </Stack>
  );
}

export function Home({ rights }) {
  return <Loaded name={OVERVIEW} above={<AlertSummary rights={rights} />} />;
}
