import { h } from '../dom.js';
import { t } from '../i18n/index.js';

export const view = () => h('div', { class: 'head' }, h('h1', {}, t('keys')));
