import { Box, Stack, Typography } from '@mui/material';
import { ErrorAlert, ErrorBoundary } from '@perses-dev/components';
import { DatasourceStoreProvider, VariableProvider } from '@perses-dev/dashboards';
import { ExplorerManagerProviderWithQueryParams } from '@perses-dev/explore';
import { TimeRangeControls, TimeRangeProviderWithQueryParams, useInitialRefreshInterval, useInitialTimeRange } from '@perses-dev/plugin-system';
import { PrometheusExplorer } from '@perses-dev/prometheus-plugin';

import { datasourceApi } from './plugins.js';
import { useTexts } from './texts.js';

export function Explore() {
  const texts = useTexts();
  const time = useInitialTimeRange('1h');
  const refresh = useInitialRefreshInterval('0s');
  return (
    <DatasourceStoreProvider datasourceApi={datasourceApi}>
      <TimeRangeProviderWithQueryParams initialTimeRange={time} initialRefreshInterval={refresh}>
        <VariableProvider>
          <Box sx={{ p: 2 }}>
            <Stack direction="row" flexWrap="wrap" justifyContent="space-between" gap={1}>
              <Typography variant="h2" component="h1">
                {texts.explore}
              </Typography>
              <Stack direction="row" spacing={1}>
                <TimeRangeControls />
              </Stack>
            </Stack>
            <ErrorBoundary FallbackComponent={ErrorAlert}>
              <ExplorerManagerProviderWithQueryParams>
                <PrometheusExplorer />
              </ExplorerManagerProviderWithQueryParams>
            </ErrorBoundary>
          </Box>
        </VariableProvider>
      </TimeRangeProviderWithQueryParams>
    </DatasourceStoreProvider>
  );
}
