import { Box } from '@mui/material';

import { useTexts } from './texts.js';

// A division by zero has series, but no number.
const hasNumber = ({ data }) => (data.series ?? []).some(({ values }) => values.some(([, value]) => !Number.isNaN(value)));

// The plugin of a panel that also has words for results without any number, for which charts of Perses draw nothing.
export function orNoData(plugin) {
  function PanelComponent(props) {
    const texts = useTexts();
    if (props.queryResults.some(hasNumber)) return <plugin.PanelComponent {...props} />;
    return (
      <Box data-testid="no-data" sx={{ height: '100%', display: 'grid', placeItems: 'center', color: 'text.secondary' }}>
        {texts.noData}
      </Box>
    );
  }
  return { ...plugin, PanelComponent };
}
